"""MiniMalloc's CSV: both conventions in and out, and a line and a reason for every fault."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frontends.buffers import load_buffers
from frontends.buffers.csv import ends_are_inclusive
from planner.errors import BadFileError, UsageError
from planner.export.minimalloc import distinct_names, minimalloc_csv, write_minimalloc
from planner.packing.problem import (
    Buffer,
    Colocation,
    Gap,
    MemorySpace,
    Overlap,
    Packing,
    PackingProblem,
    Separation,
)

from .strategies import any_names, single_memory_problems

HEADER = "id,lower,upper,size\n"


@pytest.fixture
def load(tmp_path):
    def load(content, **options):
        path = tmp_path / "b.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_buffers(path, **options)

    return load


@pytest.fixture
def refuse(load, tmp_path):
    """The message about a file, without the file's name."""

    def refuse(content):
        with pytest.raises(BadFileError) as caught:
            load(content)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path}{os.sep}b.csv:")
        return message.removeprefix(f"{tmp_path}{os.sep}b.csv:")

    return refuse


def test_columns_come_in_any_order(load):
    problem = load("size,id,upper,lower\n4,b1,3,0\n5,b2,9,-2\n")
    assert problem.buffers == (Buffer("b1", 0, 3, 4), Buffer("b2", -2, 9, 5))
    assert problem.memories == (MemorySpace(),)


@pytest.mark.parametrize("name", ["id", "buffer", "buffer_id"])
@pytest.mark.parametrize("begin", ["lower", "begin", "start"])
@pytest.mark.parametrize(("end", "shift"), [("upper", 0), ("end", 1)])
def test_every_name_of_a_column_is_read(name, begin, end, shift, load):
    problem = load(f"{name},{begin},{end},size,gaps\nb1,10,20,4,11-13@1:3 15-16\n")
    gaps = (Gap(11, 13 + shift, (1, 3)), Gap(15, 16 + shift))
    assert problem.buffers == (Buffer("b1", 10, 20 + shift, 4, 1, gaps),)


@pytest.mark.parametrize(
    ("header", "inclusive"),
    [
        ("id,lower,upper,size", False),
        ("\ufeffsize, end ,buffer,start", True),
        ("\r\nbuffer_id,begin,end,size", True),
    ],
)
def test_whether_ends_are_inclusive_is_told_of_the_header_alone(header, inclusive, tmp_path):
    path = tmp_path / "buffers.csv"
    path.write_text(f"{header}\nnot,read\n", encoding="utf-8")
    assert ends_are_inclusive(path) is inclusive
    path.write_text("id,ende,size\n")
    with pytest.raises(BadFileError, match=r"buffers\.csv:1: column 'ende' is unknown"):
        ends_are_inclusive(path)


def test_an_inclusive_end_may_be_the_beginning(load):
    assert load("id,lower,end,size\na,3,3,1\n").buffers == (Buffer("a", 3, 4, 1),)


def test_optional_columns_are_read_and_minus_one_is_none(load):
    problem = load(
        "id,lower,upper,size,alignment,hint,gaps,offset\n"
        "a,0,9,64,32,128,,96\n"
        "b,0,9,64,1,-1,-1-0 ,-1\n".replace("-1-0 ", "1-2 ")
    )
    assert problem.buffers == (
        Buffer("a", 0, 9, 64, 32, (), 96, 128),
        Buffer("b", 0, 9, 64, 1, (Gap(1, 2),), None, None),
    )


def test_gaps_at_negative_times_are_read(load):
    problem = load("id,lower,upper,size,gaps\na,-9,9,8,-7--5 -3-0@0:4\n")
    assert problem.buffers[0].gaps == (Gap(-7, -5), Gap(-3, 0, (0, 4)))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfid,lower,upper,size\na,0,1,2\n",
        b"id,lower,upper,size\r\na,0,1,2\r\n",
        b"id,lower,upper,size\na,0,1,2",
        b"\n\nid,lower,upper,size\n\na,0,1,2\n\n\n",
        b'"id","lower","upper","size"\n"a","0","1","2"\n',
        b"id, lower, upper ,size\n a ,\t0, 1 ,2 \n",
    ],
    ids=["BOM", "CRLF", "no last newline", "empty lines", "quotes", "spaces"],
)
def test_what_other_programs_write_is_read(content, load):
    assert load(content).buffers == (Buffer("a", 0, 1, 2),)


def test_quoted_ids_may_hold_commas_quotes_and_line_breaks(load, refuse):
    problem = load('id,lower,upper,size\n"a, ""b""\nc",0,1,2\n')
    assert problem.buffers[0].name == 'a, "b"\nc'
    assert refuse('id,lower,upper,size\n"a\nb",0,1,2\nc,0,1,x\n').startswith("4: size 'x'")


def test_a_header_alone_is_a_problem_without_buffers(load):
    assert load(HEADER).buffers == ()


def test_capacity_and_alignment_are_those_of_the_memory(load):
    problem = load(HEADER + "a,0,1,2\n", capacity=100, alignment=8)
    assert problem.memories == (MemorySpace("memory", 100, 8),)


@pytest.mark.parametrize("option", [{"capacity": -1}, {"alignment": 0}, {"capacity": 1 << 62}])
def test_a_bad_capacity_is_no_fault_of_the_file(option, load):
    with pytest.raises(UsageError):
        load("", **option)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "1: the file is empty"),
        ("\n\n", "1: the file is empty"),
        ("id,lower,size\na,0,1\n", "1: column 'upper' is missing"),
        ("lower,upper,size\n0,1,1\n", "1: column 'id' is missing"),
        ("id,lower,upper,size,size\n", "1: columns 'size' and 'size' both give size"),
        ("id,lower,start,upper,size\n", "1: columns 'lower' and 'start' both give lower"),
        ("id,lower,upper,end,size\n", "1: columns 'upper' and 'end' both give upper"),
        ("id,lower,upper,size,colour\n", "1: column 'colour' is unknown. Columns are id"),
        (",id,lower,upper,size\n0,a,0,1,1\n", "1: column '' is unknown"),
        ("id;lower;upper;size\na;0;1;1\n", "1: column 'id;lower;upper;size' is unknown"),
        (HEADER + "a,0,1\n", "2: 3 cells under 4 columns"),
        (HEADER + "a,0,1,1\nb,0,1,1,\n", "3: 5 cells under 4 columns"),
        (HEADER + "a,0,1,0\n", "2: buffer 'a': its size 0 is not positive"),
        (HEADER + "a,0,1,1\n\nb,0,1,-5\n", "4: buffer 'b': its size -5 is not positive"),
        (HEADER + "a,5,5,1\n", "2: buffer 'a': its lifetime [5, 5) is empty"),
        (HEADER + "a,5,4,1\n", "2: buffer 'a': its lifetime [5, 4) is empty"),
        ("id,lower,end,size\na,5,4,1\n", "2: buffer 'a': its lifetime [5, 5) is empty"),
        (HEADER + "a,0,1,1\nb,0,1,1\na,2,3,1\n", "4: id 'a' is that of line 2 too"),
        (HEADER + "a,0,1,1\n a,2,3,1\n", "3: id 'a' is that of line 2 too"),
        (HEADER + ",0,1,1\n", "2: buffer '': it has an empty name"),
        (HEADER + "a,0,1,\n", "2: size is empty"),
        (HEADER + "a,0,1,2.0\n", "2: size '2.0' is not an integer"),
        (HEADER + "a,0,1,1e6\n", "2: size '1e6' is not an integer"),
        (HEADER + "a,0,0x10,1\n", "2: upper '0x10' is not an integer"),
        (HEADER + "a,0,1_0,1\n", "2: upper '1_0' is not an integer"),
        (HEADER + "a,+0,1,1\n", "2: lower '+0' is not an integer"),
        (HEADER + "a,0,1,nan\n", "2: size 'nan' is not an integer"),
        (HEADER + "a,0,1,٣\n", "2: size '٣' is not an integer"),
        (HEADER + "a,0,1,²\n", "2: size '²' is not an integer"),
        (HEADER + "a,0,1,1\0\n", "2: size '1\\x00' is not an integer"),
        (HEADER + "a\0,0,1,1\n", "2: id holds a NUL byte"),
        (HEADER + f"a,0,1,{2**62}\n", "2: buffer 'a': size 4,611,686,018,427,387,904 is too"),
        (HEADER + f"a,{-(2**62)},1,1\n", "2: buffer 'a': lower -4,611,686,018,427,387,904 is"),
        (HEADER + f"a,0,1,1{400 * '0'}\n", "2: size '1000"),
        (HEADER + "a,0,1,-" + 20 * "9" + "\n", "2: size '-99999999999999999999' is too large"),
        (HEADER + '"a,0,1,1\nb,0,1,1\n', "2: not CSV: "),
        (HEADER + '"a"b,0,1,1\n', "2: not CSV: "),
        (HEADER + 200_000 * "a" + ",0,1,1\n", "2: not CSV: field larger"),
        (b"\x7fELF\x02\x01\x01\0\0", "1: a NUL byte"),
        (b"\xff\xfei\0d\0", "1: not UTF-8 text: byte 0xff"),
        ((HEADER + "a,0,1,1\nb\xfc,0,1,1\n").encode("latin-1"), "3: not UTF-8 text: byte 0xfc"),
    ],
)
def test_every_fault_has_a_line_and_a_reason(content, message, refuse):
    assert refuse(content).startswith(message)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("3", "gap '3' is malformed"),
        ("3-", "gap '3-' is malformed"),
        ("3-5-7", "gap '3-5-7' is malformed"),
        ("3-5@", "gap '3-5@' is malformed"),
        ("3-5@1", "gap '3-5@1' is malformed"),
        ("3-5@-1:2", "gap '3-5@-1:2' is malformed"),
        ("3-5@1:2:3", "gap '3-5@1:2:3' is malformed"),
        ("3-5;6-7", "gap '3-5;6-7' is malformed"),
        ("5-3", "buffer 'a': its gap [5, 3) is empty"),
        ("3-12", "buffer 'a': its gap [3, 12) is not inside [0, 9)"),
        ("3-5 4-6", "buffer 'a': its gap [4, 6) is not inside [0, 9), or not behind"),
        ("3-5@0:9", "buffer 'a': the window [0, 9) of its gap is not inside its 8 bytes"),
        ("3-5@4:4", "buffer 'a': the window [4, 4)"),
        ("0-9", "buffer 'a': its gaps leave nothing"),
    ],
)
def test_malformed_gaps_are_refused(cell, message, refuse):
    assert refuse(f"id,lower,upper,size,gaps\na,0,9,8,{cell}\n").startswith(f"2: {message}")


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("alignment", "0", "buffer 'a': its alignment 0 is not between 1"),
        ("alignment", "", "alignment is empty"),
        ("offset", "", "offset is empty; -1 stands for none"),
        ("offset", "-2", "buffer 'a': its fixed offset -2 is not between 0"),
        ("hint", "", "hint is empty; -1 stands for none"),
        ("hint", "-2", "buffer 'a': its hint -2"),
        ("hint", "x", "hint 'x' is not an integer"),
    ],
)
def test_malformed_optional_cells_are_refused(column, cell, message, refuse):
    assert refuse(f"id,lower,upper,size,{column}\na,0,9,8,{cell}\n").startswith(f"2: {message}")


def test_sizes_that_add_up_to_too_much_are_refused(load):
    half = 2**61
    with pytest.raises(BadFileError, match=r"b\.csv: sizes and alignments add up to"):
        load(HEADER + f"a,0,1,{half}\nb,0,1,{half}\n")


@pytest.mark.slow
def test_ten_million_rows_are_refused(tmp_path):
    path = tmp_path / "many.csv"
    with path.open("w") as file:
        file.write(HEADER)
        for _ in range(10):
            file.write("a,0,1,1\n" * 1_000_000)
    with pytest.raises(BadFileError) as caught:
        load_buffers(path)
    assert str(caught.value) == f"{path}:1000002: more than 1,000,000 buffers. Refused."


@pytest.mark.parametrize("rows", ["a,0,1,1\nb,0,1,1\nc,0,1,1\nd,0,1,x\n", "\n" * 1000])
def test_reading_stops_at_the_row_limit(rows, refuse, monkeypatch):
    monkeypatch.setattr("frontends.buffers.csv.MAX_BUFFERS", 3)
    assert refuse(HEADER + rows) == "5: more than 3 buffers. Refused."


def test_as_many_rows_as_the_limit_are_read(load, monkeypatch):
    monkeypatch.setattr("frontends.buffers.csv.MAX_BUFFERS", 3)
    assert len(load(HEADER + "a,0,1,1\nb,0,1,1\nc,0,1,1\n").buffers) == 3


def test_reading_stops_at_the_gap_limit(refuse, monkeypatch):
    monkeypatch.setattr("frontends.buffers.csv.MAX_GAPS", 3)
    rows = "a,0,9,1,1-2 3-4\nb,0,9,1,1-2 3-4\nc,0,9,1,x\n"
    assert refuse("id,lower,upper,size,gaps\n" + rows).startswith("3: more than 3 gaps")


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path):
    path = tmp_path / "long.csv"
    path.write_bytes(HEADER.encode() + b"a" * (32 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BadFileError, match=r":2: not CSV: field larger"):
            load_buffers(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_files_beyond_the_size_limit_are_refused_unread(tmp_path):
    path = tmp_path / "sparse.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadFileError, match="larger than 268,435,456 bytes"):
        load_buffers(path)


@pytest.mark.parametrize("suffix", [".csv", ".json", ""])
def test_what_is_no_file_is_refused(suffix, tmp_path):
    directory = tmp_path / f"directory{suffix}"
    directory.mkdir()
    with pytest.raises(BadFileError, match="is a directory"):
        load_buffers(directory)
    with pytest.raises(BadFileError, match="No such file"):
        load_buffers(tmp_path / f"missing{suffix}")
    with pytest.raises(BadFileError, match="null"):
        load_buffers(tmp_path / f"nul\0{suffix}")
    if hasattr(os, "mkfifo"):
        pipe = tmp_path / f"pipe{suffix}"
        os.mkfifo(pipe)
        with pytest.raises(BadFileError, match="not a regular file"):
            load_buffers(pipe)
    if Path("/dev/zero").exists():
        with pytest.raises(BadFileError, match="not a regular file"):
            load_buffers("/dev/zero")


def test_an_unknown_suffix_is_read_by_its_content(tmp_path):
    path = tmp_path / "buffers"
    path.write_text(HEADER + "a,0,1,2\n")
    assert load_buffers(path).buffers == (Buffer("a", 0, 1, 2),)
    path.write_text(
        ' {"format": "planner.packing", "version": 1, "memories": [{"name": "m"}], "buffers": []}'
    )
    assert load_buffers(path).memories == (MemorySpace("m"),)
    path.write_text("malloc a 8\nfree a\n")
    assert load_buffers(path).buffers[0].size == 8


@pytest.mark.parametrize("suffix", [".log", ".txt", ".LOG"])
def test_a_log_is_read_as_one(suffix, tmp_path):
    path = tmp_path / f"allocations{suffix}"
    path.write_text("malloc a 8\nfree a\n")
    problem = load_buffers(path, capacity=64, alignment=16)
    assert problem.buffers[0].size == 8
    assert problem.memories == (MemorySpace(capacity=64, alignment=16),)


@settings(max_examples=60, deadline=None)
@given(single_memory_problems(), st.booleans())
def test_what_is_written_comes_back_equal(tmp_path_factory, problem, inclusive):
    path = tmp_path_factory.mktemp("csv") / "b.csv"
    note = write_minimalloc(problem, path, inclusive=inclusive)
    assert load_buffers(path) == problem
    fixed = sum(buffer.offset is not None for buffer in problem.buffers)
    assert bool(note) == (0 < fixed < len(problem.buffers))


@settings(deadline=None)
@given(st.lists(any_names, max_size=8))
def test_written_names_are_plain_and_differ(tmp_path_factory, names):
    written = distinct_names(names)
    assert len(set(written)) == len(names)
    path = tmp_path_factory.mktemp("csv") / "b.csv"
    path.write_text(HEADER + "".join(f"{name},0,1,1\n" for name in written), encoding="utf-8")
    assert [buffer.name for buffer in load_buffers(path).buffers] == written


def test_names_that_become_equal_get_numbers():
    assert distinct_names(["a,b", "a\nb", "a_b", "a_b_2", " a"]) == [
        *("a_b", "a_b_3", "a_b_4", "a_b_2", "_a"),
    ]


def test_the_file_is_minimal():
    problem = PackingProblem((Buffer("a", 0, 4, 64), Buffer("b", 2, 9, 32)))
    assert minimalloc_csv(problem) == "id,lower,upper,size\na,0,4,64\nb,2,9,32\n"
    assert minimalloc_csv(problem, inclusive=True) == "id,start,end,size\na,0,3,64\nb,2,8,32\n"


def test_columns_stand_in_the_published_order():
    buffer = Buffer("a", 0, 9, 64, 32, (Gap(1, 3, (0, 8)), Gap(4, 5)), 96, 7)
    packing = Packing(np.zeros(1, dtype=np.int32), np.array([128]))
    assert minimalloc_csv(PackingProblem((buffer,))) == (
        "id,lower,upper,size,alignment,hint,gaps,offset\na,0,9,64,32,7,1-3@0:8 4-5,96\n"
    )
    assert minimalloc_csv(PackingProblem((buffer,)), packing=packing).endswith(",128\n")


def test_the_alignment_of_the_memory_becomes_that_of_the_buffers(tmp_path):
    problem = PackingProblem((Buffer("a", 0, 1, 2, 6),), (MemorySpace(alignment=4),))
    write_minimalloc(problem, tmp_path / "b.csv")
    assert load_buffers(tmp_path / "b.csv").buffers == (Buffer("a", 0, 1, 2, 12),)


def test_what_the_format_cannot_express_is_said(tmp_path):
    pair = (Buffer("a", 0, 1, 2, memories=("near",)), Buffer("b", 0, 1, 2, offset=0))
    problem = PackingProblem(
        pair,
        (MemorySpace("near", 8, 4), MemorySpace("far")),
        (Colocation("a", "b"),),
        (Separation("a", "b"),),
        (Overlap("a", "b", 1), Overlap("b", "a", 1)),
    )
    assert write_minimalloc(problem, tmp_path / "b.csv") == (
        "The CSV has no place for 2 memories and which buffer lies where, the alignments of "
        "memories, capacities, 1 colocation, 1 separation, 2 overlaps: left out. "
        "An offset of -1 stands for none, but google/minimalloc would fix it."
    )


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path):
    problem = PackingProblem((Buffer("a", 0, 1, 2),))
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(BadFileError, match="is a directory: nothing was written"):
        write_minimalloc(problem, tmp_path / "b.csv")
    with pytest.raises(BadFileError, match="No such file"):
        write_minimalloc(problem, tmp_path / "missing" / "b.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]


def test_a_device_is_never_replaced_by_a_file():
    if not Path("/dev/null").exists():
        pytest.skip("this system has no /dev/null")
    with pytest.raises(BadFileError, match="not a regular file"):
        write_minimalloc(PackingProblem(()), "/dev/null")


@pytest.mark.parametrize(
    ("name", "buffers"),
    [("minimalloc/A.1048576", 154), ("minimalloc/input.12", 5), ("idealloc/resnet50", 1042)],
)
def test_published_files_come_back_as_the_same_bytes(name, buffers):
    folder = os.environ.get("PLANNER_DATA")
    if not folder:
        pytest.skip("PLANNER_DATA is not set: the published buffer files are not read")
    path = Path(folder) / "offsets" / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path} is missing: this published file is not read")
    problem = load_buffers(path)
    assert len(problem.buffers) == buffers
    assert minimalloc_csv(problem).splitlines() == path.read_text().splitlines()
