"""Small files of buffers, and the type of the fixture that writes them."""

from collections.abc import Callable

EASY = "id,lower,upper,size\nb0,0,3,4096\nb1,1,5,1024\nb2,3,9,512\n"
INCLUSIVE = "id,start,end,size,gaps\nb0,0,2,4096,1-1\nb1,1,4,1024,\nb2,3,8,512,\n"

Write = Callable[..., str]
