"""The models of `frontends.torch.zoo`, small as they are by default."""

from frontends.torch.zoo import bert, gpt2, llama, mlp, resnet

__all__ = ["bert", "gpt2", "llama", "mlp", "resnet"]
