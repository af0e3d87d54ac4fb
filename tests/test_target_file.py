"""Targets: sizes as people write them, the shipped files, and what the reader refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.cost import operator_cost
from planner.errors import BadFileError, UsageError
from planner.target import Compute, Link, Memory, Target
from planner.target_file import parse_size, read_target, target_names
from planner.testing import random_graph

MINIMAL = """
[[memory]]
name = "sram"
capacity = "256KiB"
alignment = 16

[[memory]]
name = "dram"

[[link]]
from = "sram"
to = "dram"
bandwidth = 1e9
"""


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("256KiB", 262_144),
        ("256 KiB", 262_144),
        ("256kib", 262_144),
        ("1.5MiB", 1_572_864),
        ("8GB", 8_000_000_000),
        ("2TiB", 2 << 40),
        ("1_000kB", 1_000_000),
        ("12B", 12),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "KiB", "-1", -1, "256K", "1.5", "0.1KiB", "10XB", "1e9", "nan", "\u0663KiB", True),
        *(None, 1.5, "1KiB KiB", "9" * 400, "9000000TiB", 1 << 54),
    ],
)
def test_malformed_sizes_are_refused(text):
    with pytest.raises(UsageError, match="size"):
        parse_size(text)


def test_ambiguous_unit_says_which_two_it_could_be():
    with pytest.raises(UsageError, match=r"KiB \(powers of 1,024\) or KB \(powers of 1,000\)"):
        parse_size("256K")


def test_shipped_targets_are_listed_with_their_descriptions():
    names = dict(target_names())
    assert list(names) == [
        *("cpu-core", "gpu-141g", "gpu-80g", "host", "mcu-256k", "npu-1m", "npu-8m"),
        *("npu-edge-4m", "tpuv4i"),
    ]
    assert all(names.values())


@pytest.mark.parametrize("name", [name for name, _ in target_names()])
def test_shipped_target_is_named_as_its_file_and_can_be_simulated_if_it_has_rates(name):
    target = read_target(name)
    assert target.name == name
    assert target.memory(target.io_memory).writable
    graph = random_graph(3)
    for operator in range(len(graph.operators)):
        if target.compute is None:
            with pytest.raises(UsageError, match="no \\[compute\\] rates"):
                operator_cost(graph, target, operator)
        else:
            assert operator_cost(graph, target, operator).seconds >= 0


def test_shipped_figures_that_others_rely_on():
    assert read_target("host").memories == (Memory("ram", None, 64),)
    mcu = read_target("mcu-256k")
    assert mcu.nearest.capacity_bytes == 262_144
    assert (mcu.io_memory, mcu.constant_memory) == ("sram", "flash")
    assert not mcu.memory("flash").writable
    assert mcu.spill_memory is None
    for name, capacity in (("npu-1m", 1 << 20), ("npu-8m", 8 << 20)):
        npu = read_target(name)
        assert npu.nearest.capacity_bytes == capacity
        assert (npu.io_memory, npu.constant_memory) == ("dram", "dram")
        assert npu.operands_resident
        assert npu.spill_memory == npu.memory("dram")
    edge = read_target("npu-edge-4m")
    assert not edge.operands_resident
    assert edge.nearest.capacity_bytes == 4 << 20
    assert edge.compute == read_target("npu-8m").compute
    tpu = read_target("tpuv4i")
    assert not tpu.operands_resident
    assert tpu.nearest.capacity_bytes == 128 << 20
    assert tpu.memory("hbm").read_bandwidth == 614e9
    assert tpu.compute is not None
    assert 2 * tpu.compute.mac_rate["bfloat16"] == 138e12
    assert not any(link.fifo for link in tpu.links)
    for name, capacity in (("gpu-80g", 80 * 10**9), ("gpu-141g", 141 * 10**9)):
        gpu = read_target(name)
        assert gpu.nearest == gpu.memory("hbm")
        assert gpu.nearest.capacity_bytes == capacity
        assert gpu.io_memory == gpu.constant_memory == "hbm"
        assert gpu.spill_memory == gpu.memory("host")
        # Both directions at once, so that the memory behind the links slows neither.
        assert gpu.memory("host").read_bandwidth == sum(
            link.bandwidth for link in gpu.links if "host" in (link.source, link.destination)
        )


def test_every_figure_of_a_shipped_target_has_a_comment_near_it():
    folder = Path(__file__).parent.parent / "planner" / "targets"
    for path in folder.glob("*.toml"):
        text = path.read_text()
        assert text.startswith("# "), path.name
        assert "Our choice" in text or "our choice" in text, path.name


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageError, match=r"no target 'npu-1mb'.*Did you mean npu-1m\?"):
        read_target("npu-1mb")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chip.toml"
    path.write_text(text)
    return path


def test_file_with_few_fields_gets_the_documented_defaults(tmp_path):
    assert read_target(write(tmp_path, MINIMAL)) == Target(
        "chip",
        (Memory("sram", 262_144, 16), Memory("dram")),
        (Link("sram", "dram", 1e9),),
        io_memory="sram",
        constant_memory="dram",
    )


def test_nearest_memory_may_have_a_link_to_itself(tmp_path):
    text = MINIMAL + '[[link]]\nfrom = "sram"\nto = "sram"\nbandwidth = 1'
    assert read_target(write(tmp_path, text)).relocates
    assert not read_target(write(tmp_path, MINIMAL)).relocates
    for name, rate in (("gpu-80g", 2.039e12), ("gpu-141g", 4.8e12)):
        gpu = read_target(name)
        link = gpu.link("hbm", "hbm")
        assert link is not None
        assert link.bandwidth == rate / 2


def test_path_may_be_text_ending_in_toml(tmp_path):
    path = write(tmp_path, MINIMAL)
    assert read_target(str(path)) == read_target(path)


def test_rates_are_read(tmp_path):
    text = """
    name = "chip"
    [[memory]]
    name = "sram"
    read_bandwidth = 1e9
    write_bandwidth = 2e9
    latency_s = 1e-6
    [compute]
    vector_rate = 5
    launch_overhead_s = 0
    mac_rate = {default = 7, int8 = 1e9}
    """
    target = read_target(write(tmp_path, text))
    assert target.compute == Compute({"default": 7.0, "int8": 1e9}, 5.0, 0.0)
    assert target.memories == (Memory("sram", None, 1, 1e9, 2e9, 1e-6),)


COMPUTE = "[compute]\nvector_rate = 1\n[compute.mac_rate]\ndefault = 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"chip.toml: memory: missing"),
        ("memory = 3", r"memory: must be a list of tables, \[\[memory\]\]"),
        ("[[memory]]\nsize = 3", r"memory 1.size: unknown field"),
        ("[[memory]]\ncapactiy = 3", r"memory 1.capactiy: unknown field. Did you mean capacity\?"),
        ("[[memory]]\ncapacity = 3", r"memory 1.name: missing"),
        ('[[memory]]\nname = ""', r"memory 1.name: must not be empty"),
        ("[[memory]]\nname = 3", r"memory 1.name: 3 is not a line of text"),
        ('[[memory]]\nname = "a\\nb"', r"memory 1.name: .* is not a line of text"),
        ('[[memory]]\nname = "a"\ncapacity = -4', r"memory 1.capacity: size -4"),
        ('[[memory]]\nname = "a"\ncapacity = "4QB"', r"memory 1.capacity: size '4QB'"),
        ('[[memory]]\nname = "a"\nalignment = 48', r'memory "a" has alignment 48, which is not'),
        ('[[memory]]\nname = "a"\nalignment = 0', r'memory "a" has alignment 0, which is not'),
        ('[[memory]]\nname = "a"\nread_bandwidth = 0', r"read_bandwidth: 0.0: must be finite"),
        ('[[memory]]\nname = "a"\nread_bandwidth = nan', r"read_bandwidth: nan: must be finite"),
        ('[[memory]]\nname = "a"\nread_bandwidth = true', r"read_bandwidth: True is not a number"),
        (f'[[memory]]\nname = "a"\nread_bandwidth = 1{"0" * 400}', r"inf: must be finite"),
        ('[[memory]]\nname = "a"\nlatency_s = -1.0', r"latency_s: -1.0: must be finite and zero"),
        ('[[memory]]\nname = "a"\nwritable = 1', r"memory 1.writable: 1 is neither true nor false"),
        ('[[memory]]\nname = "a"\nwritable = false', r'memory 1: "a" is not writable'),
        (
            '[[memory]]\nname = "a"\n[[memory]]\nname = "b"\n[[memory]]\nname = "a"',
            r'memory "a" is declared twice \(entries 1 and 3\)',
        ),
        (MINIMAL + '[[link]]\nfrom = "sram"\nto = "hbm"', r'link 2.to: no memory "hbm"'),
        (
            MINIMAL + '[[link]]\nfrom = "dram"\nto = "dram"\nbandwidth = 1',
            r'link 2.to: "dram" is also where the link comes from. Only the nearest memory, "sram"',
        ),
        (MINIMAL + '[[link]]\nfrom = "dram"\nto = "sram"', r"link 2.bandwidth: missing"),
        (
            MINIMAL + '[[link]]\nfrom = "dram"\nto = "sram"\nbandwidth = 1\nchannels = 0',
            r"link 2.channels: 0 is not a positive integer",
        ),
        (
            MINIMAL + '[[link]]\nfrom = "dram"\nto = "sram"\nbandwidth = 1\nfifo = 1',
            r"link 2.fifo: 1 is neither true nor false",
        ),
        (
            MINIMAL + '[[link]]\nfrom = "sram"\nto = "dram"\nbandwidth = 1',
            r"link 2: sram to dram is declared twice",
        ),
        ('io_memory = "x"\n' + MINIMAL, r'io_memory: no memory "x". There are: sram, dram'),
        ('constant_memory = "x"\n' + MINIMAL, r'constant_memory: no memory "x"'),
        ("operands_resident = 1\n" + MINIMAL, r"operands_resident: 1 is neither"),
        ("colour = 1\n" + MINIMAL, r"chip.toml: colour: unknown field"),
        (MINIMAL + "[compute]\n", r"with \[compute\], give also compute.mac_rate.default"),
        (MINIMAL + COMPUTE, r"give also memory 1.read_bandwidth.*memory 2.write_bandwidth"),
        (MINIMAL + COMPUTE + "quux = 1", r"compute.mac_rate.quux: no element type"),
        (MINIMAL + COMPUTE + "int8 = 0", r"compute.mac_rate.int8: 0.0: must be finite"),
        ("compute = 1\n" + MINIMAL, r"compute: must be a table, \[compute\]"),
        ("a = 1\na = 2", "not a TOML file"),
        ("[[memory", "not a TOML file"),
        ("a = " + "[" * 20_000, "not a TOML file"),
        (f"a = {'1' * 5_000}", "chip.toml"),
    ],
)
def test_wrong_field_is_refused_by_file_field_and_value(tmp_path, text, message):
    with pytest.raises(BadFileError, match=message) as caught:
        read_target(write(tmp_path, text))
    assert str(caught.value).startswith("chip.toml: ")


def test_missing_file_directory_binary_and_huge_file_are_bad_files(tmp_path):
    with pytest.raises(BadFileError, match=r"absent.toml: No such file"):
        read_target(tmp_path / "absent.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(BadFileError, match="directory"):
        read_target(tmp_path / "folder.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFileError, match="not a TOML file"):
        read_target(tmp_path / "binary.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * ((1 << 22) + 1))
    with pytest.raises(BadFileError, match="larger than 4,194,304 bytes"):
        read_target(tmp_path / "huge.toml")
