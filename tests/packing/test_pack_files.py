"""``plan pack``: the files it writes, all or none."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from frontends.buffers import load_buffers
from planner.cli.main import main
from planner.packing.checker import check_packing
from planner.packing.file import read_packing

from .buffer_files import EASY, INCLUSIVE, Write


def test_the_csv_written_is_the_packing_in_the_convention_that_was_read(
    write: Write, tmp_path: Path
) -> None:
    for name, text, header in (
        ("half_open.csv", EASY, "id,lower,upper,size,offset"),
        ("inclusive.csv", INCLUSIVE, "id,start,end,size,gaps,offset"),
    ):
        source, out = write(text, name), tmp_path / f"out_{name}"
        assert main(["pack", source, "-q", "-o", str(out)]) == 0
        assert out.read_text().splitlines()[0] == header
        before, after = load_buffers(source), load_buffers(out)
        assert [b._replace(offset=None) for b in after.buffers] == list(before.buffers)
        offsets = [buffer.offset for buffer in after.buffers]
        assert None not in offsets
        assert main(["pack", str(out), "-q"]) == 0


def test_a_log_whose_comment_looks_like_a_header_is_no_csv(write: Write, tmp_path: Path) -> None:
    source, out = (
        write("# begin, end, size\nmalloc a 8\nfree a\n", "step.log"),
        tmp_path / "out.csv",
    )
    assert main(["pack", source, "-q", "-o", str(out)]) == 0
    assert out.read_text() == "id,lower,upper,size,offset\na,0,1,8,0\n"


def test_fixed_offsets_of_some_are_no_remark_where_all_are_written(
    write: Write, tmp_path: Path, capsys
) -> None:
    source = write("id,lower,upper,size,offset\na,0,2,8,8\nb,0,2,8,-1\n")
    assert main(["pack", source, "-o", str(tmp_path / "out.csv")]) == 0
    assert "note:" not in capsys.readouterr().err


def test_the_csv_that_is_read_is_not_overwritten_with_fixed_offsets(
    write: Write, tmp_path: Path, capsys
) -> None:
    source = write()
    (tmp_path / "same.csv").symlink_to(source)
    for name in (source, str(tmp_path / "same.csv")):
        assert main(["pack", source, "-o", name]) == 2
        assert "this is the file that is read" in capsys.readouterr().err
    assert Path(source).read_text() == EASY


def test_a_packed_json_can_be_packed_again_in_place(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "same.json"
    assert main(["pack", write(), "-q", "-o", str(path)]) == 0
    before = path.read_bytes()
    assert main(["pack", str(path), "-q", "-o", str(path)]) == 0
    assert path.read_bytes() == before


def test_the_lp_file_of_a_problem_proven_impossible_by_search_is_written(
    write: Write, tmp_path: Path, capsys
) -> None:
    """Whoever wants to know why hands it to another solver."""
    model = tmp_path / "out.lp"
    rows = "a,1,3,4\nb,5,7,3\nc,6,7,4\nd,3,6,3\ne,2,6,1\nf,1,2,3\ng,2,4,1\n"
    source = write(f"id,lower,upper,size\n{rows}")
    assert main(["pack", source, "--capacity", "7", "-o", str(model)]) == 3
    captured = capsys.readouterr()
    assert captured.out == f"wrote     {model}\n"
    assert "Try --capacity 8, at which a packing is known." in captured.err
    assert "Subject To" in model.read_text()


def test_an_lp_file_of_several_memories_is_refused_by_name(
    write: Write, tmp_path: Path, capsys
) -> None:
    memories = ["--memory", "near=4KiB", "--memory", "far=1MiB"]
    assert main(["pack", write(), *memories, "-o", str(tmp_path / "out.lp")]) == 2
    assert "no .lp file can be written: the model is about one memory" in capsys.readouterr().err


def test_ctrl_c_while_the_report_is_made_is_no_missing_packing(
    write: Write, tmp_path: Path, capsys, monkeypatch
) -> None:
    from planner.report import packing_text

    def interrupted(*given):
        signal.raise_signal(signal.SIGINT)
        return render(*given)

    render = packing_text.render_packing
    monkeypatch.setattr(packing_text, "render_packing", interrupted)
    assert main(["pack", write(), "-o", str(tmp_path / "out.csv")]) == 130
    captured = capsys.readouterr()
    assert captured.out.count("checked   legal") == 1
    assert captured.err.endswith("interrupted; this is the best packing until then\n")
    assert (tmp_path / "out.csv").exists()


def test_the_json_written_holds_problem_and_packing(write: Write, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["pack", write(), "-q", "-o", str(out)]) == 0
    stored = read_packing(out)
    assert stored.solution is not None and stored.solution.packing is not None
    assert check_packing(stored.problem, stored.solution.packing) == []
    assert main(["pack", str(out), "-q"]) == 0


def test_the_page_and_the_lp_file_are_written(write: Write, tmp_path: Path, capsys) -> None:
    page, model = tmp_path / "out.html", tmp_path / "out.lp"
    assert main(["pack", write(), "-o", str(page), "-o", str(model)]) == 0
    assert f"wrote     {page}  {model}" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "Subject To" in model.read_text()


@pytest.mark.parametrize("blocked", ["out.csv", "out.html"])
def test_outputs_are_written_all_or_none(
    blocked: str, write: Write, tmp_path: Path, capsys
) -> None:
    source = write()
    (tmp_path / blocked).mkdir()
    outputs = [arg for s in ("csv", "html") for arg in ("-o", str(tmp_path / f"out.{s}"))]
    assert main(["pack", source, "-q", *outputs]) == 6
    captured = capsys.readouterr()
    assert captured.out == "" and str(tmp_path / blocked) in captured.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["easy.csv", blocked])
