"""Archives are unpacked into their folder and nowhere else; what does not belong is refused by name (PA-17)."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hud.errors import UsageError
from hud_platform.contexts import archives

LIMIT = 2**24


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755, **fields)


def packed(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=form) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 1)


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[bytes], Path]:
    """Unpack an archive's bytes into the folder `tree`, and give that."""

    def run(content: bytes) -> Path:
        (tmp_path / "archive").write_bytes(content)
        (tmp_path / "tree").mkdir()
        archives.extract(tmp_path / "archive", tmp_path / "tree", limit_bytes=LIMIT)
        return tmp_path / "tree"

    return run


def test_files_folders_and_links_are_made_as_they_were_packed(unpack: Callable[[bytes], Path]) -> None:
    content = packed(
        folder("a"), folder("empty"), member("a/run", b"#!", mode=0o750), member("top", b"t", mode=0o640),
        link("a/up", "../top"), link("dangling", "nowhere"), link("same", "top", tarfile.LNKTYPE),
    )  # fmt: skip
    tree = unpack(content)

    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == [
        "a", "a/run", "a/up", "dangling", "empty", "same", "top",
    ]  # fmt: skip
    assert (tree / "a/run").read_bytes() == b"#!"
    assert stat.S_IMODE((tree / "a/run").stat().st_mode) == 0o750
    assert os.readlink(tree / "a/up") == "../top"
    assert os.readlink(tree / "dangling") == "nowhere"
    assert (tree / "same").read_bytes() == b"t"
    assert (tree / "same").stat().st_nlink == 1
    assert stat.S_IMODE((tree / "same").stat().st_mode) == 0o640


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
@pytest.mark.parametrize("name", ["日本/файл 🎉.txt", "e\u0301/\u00e9", "a" * 200 + "/" + "b" * 250, "x\ny", "-rf *"])
def test_names_in_any_script_and_of_any_length_are_kept(unpack: Callable[[bytes], Path], name: str, form: int) -> None:
    tree = unpack(packed(member(name, b"here"), form=form))

    assert (tree / name).read_bytes() == b"here"


HOSTILE: dict[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]] = {
    "absolute": ([member("/etc/x")], "holds '/etc/x', which leads out of it"),
    "climbing": ([member("a/../../x")], r"holds 'a/../../x', which leads out of it"),
    "climbing, at the end": ([folder("..")], r"holds '\.\.', which leads out of it"),
    "nothing": ([member("./")], "names nothing"),
    "absolute link": ([link("l", "/etc/passwd")], "link 'l' of the context archive leads out of it, to '/etc/passwd'"),
    "climbing link": ([link("a/l", "../../x")], "link 'a/l' of the context archive leads out of it, to '../../x'"),
    "link out by a link": ([folder("d"), link("d/up", ".."), link("l", "d/up/../x")], "leads out of it"),
    "link without a target": ([link("l", "")], "link 'l' of the context archive has no target"),
    "hard link out": ([link("h", "../../etc/passwd", tarfile.LNKTYPE)], "'../../etc/passwd', which leads out of it"),
    "hard link to nothing": ([link("h", "none", tarfile.LNKTYPE)], "is a hard link to 'none', which is no file of it"),
    "hard link to a link": ([link("l", "x"), link("h", "l", tarfile.LNKTYPE)], "is a hard link to 'l'"),
    "hard link to itself": ([link("h", "h", tarfile.LNKTYPE)], "is a hard link to 'h'"),
    "through a link": ([link("l", "."), member("l/x")], "holds 'l/x' below 'l', which is no folder"),
    "through a file": ([member("f"), member("f/x")], "holds 'f/x' below 'f', which is no folder"),
    "link over a folder": ([member("d/x"), link("d", "/tmp")], "holds 'd' twice"),
    "file twice": ([member("f", b"1"), member("./f", b"2")], "holds 'f' twice"),
    "folder over a file": ([member("f"), folder("f")], "holds 'f' twice"),
    "named pipe": ([member("p", type=tarfile.FIFOTYPE)], "holds 'p', which is no file, folder or link"),
    "character device": ([member("c", type=tarfile.CHRTYPE)], "holds 'c', which is no file, folder or link"),
    "block device": ([member("b", type=tarfile.BLKTYPE)], "holds 'b', which is no file, folder or link"),
    "unknown kind": ([member("u", type=b"V")], "holds 'u', which is no file, folder or link"),
    "name that is no UTF-8": ([member("\udcff\udcfe")], "a name that is not UTF-8"),
    "name that is too long": ([member("n" * 256)], "a name that no disk takes"),
    "path that is too long": ([member("/".join(["n" * 200] * 21))], "a name that no disk takes"),
    "too deep": ([member("d/" * 256 + "f")], "a name that no disk takes"),
    "too large": ([member("f", bytes(LIMIT)), member("g", b"1")], f"more than {LIMIT} bytes unpacked, at 'g'"),
    "header of a gigabyte": ([member("f", pax_headers={"comment": "c" * 2**21})], "header that is longer than any"),
}


@pytest.mark.parametrize(("members", "words"), HOSTILE.values(), ids=HOSTILE)
def test_pa_17_what_does_not_belong_is_refused_by_name(
    unpack: Callable[[bytes], Path], tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], words: str
) -> None:
    form = tarfile.GNU_FORMAT if "\udcff" in members[0][0].name else tarfile.PAX_FORMAT
    with pytest.raises(UsageError, match=words):
        unpack(packed(*members, form=form))
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "tree"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_bits_beyond_rwx_and_times_are_left_behind(unpack: Callable[[bytes], Path]) -> None:
    times = {"mtime": -1e300, "pax_headers": {"mtime": "nan", "uid": "99999999999999999999"}}
    tree = unpack(packed(member("s", b"x", mode=0o6755, **times), member("none", mode=0), folder("d")))

    assert stat.S_IMODE((tree / "s").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "none").stat().st_mode) == 0o400
    assert (tree / "s").stat().st_mtime_ns == (tree / "none").stat().st_mtime_ns > 2**60


def test_pa_17_a_bomb_goes_off_nowhere(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "archive", "wb") as file:
        info, _ = member("zeros")
        info.size = 3 * 2**30
        file.write(info.tobuf())
        for _ in range(64):  # as far as it has to be there
            file.write(bytes(2**20))
    (tmp_path / "tree").mkdir()

    with pytest.raises(UsageError, match=rf"more than {2**30} bytes unpacked, at 'zeros'"):
        archives.extract(tmp_path / "archive", tmp_path / "tree", limit_bytes=2**40)
    assert not list((tmp_path / "tree").iterdir())


def test_pa_17_a_header_that_claims_gigabytes_takes_no_memory(unpack: Callable[[bytes], Path]) -> None:
    info, _ = member("x", type=tarfile.GNUTYPE_LONGNAME)
    info.size = 8 * 2**30
    with pytest.raises(UsageError, match="a header that is longer than any honest one"):
        unpack(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))


def test_holes_of_a_sparse_file_are_zeros(unpack: Callable[[bytes], Path], tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**20)
        file.seek(2**19)
        file.write(b"island")
    made = subprocess.run(["tar", "-C", tmp_path, "--sparse", "-cz", "sparse"], check=True, capture_output=True).stdout

    assert len(made) < 2000
    assert (unpack(made) / "sparse").read_bytes() == (tmp_path / "sparse").read_bytes()


def test_every_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = packed(folder("d"), member("d/f", random.Random(1).randbytes(3000)), member("g", b"g"))
    for length in range(len(whole)):
        (tmp_path / "archive").write_bytes(whole[:length])
        (tmp_path / str(length)).mkdir()
        with pytest.raises(UsageError, match=r"cannot be read|cut off"):
            archives.extract(tmp_path / "archive", tmp_path / str(length), limit_bytes=LIMIT)


def test_a_damaged_header_is_not_taken_for_the_end(unpack: Callable[[bytes], Path]) -> None:
    plain = bytearray(gzip.decompress(packed(member("a", b"1"), member("b", b"2"), form=tarfile.USTAR_FORMAT)))
    plain[1024 + 10] ^= 1  # in the name of the second member

    with pytest.raises(UsageError, match="the context archive has a damaged header"):
        unpack(gzip.compress(plain))


def test_a_damaged_checksum_is_noticed(unpack: Callable[[bytes], Path]) -> None:
    content = bytearray(packed(member("a", b"1")))
    content[-6] ^= 1

    with pytest.raises(UsageError, match=r"cannot be read: .*incorrect data check"):
        unpack(bytes(content))


def test_an_archive_in_several_gzip_members_and_padded_is_read(unpack: Callable[[bytes], Path]) -> None:
    plain = gzip.decompress(packed(member("a", b"1"), member("b", b"2")))
    tree = unpack(gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(5000))

    assert (tree / "a").read_bytes() == b"1"
    assert (tree / "b").read_bytes() == b"2"


def test_a_stop_is_heard_between_members_and_in_them(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(packed(member("a", bytes(LIMIT))))
    (tmp_path / "tree").mkdir()
    asked = []

    def stop() -> None:
        asked.append(True)
        if len(asked) == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        archives.extract(tmp_path / "archive", tmp_path / "tree", limit_bytes=LIMIT, going_on=stop)


def refusal(place: Path, content: bytes) -> str:
    """Unpack, and give the words with which it was refused, or others when it was not."""
    (place / "archive").write_bytes(content)
    (place / "tree").mkdir()
    try:
        archives.extract(place / "archive", place / "tree", limit_bytes=LIMIT)
    except UsageError as error:
        return str(error)
    return "the context archive was unpacked"


WHOLE = packed(
    folder("d"), member("d/f", b"f" * 600), link("l", "d/f"), link("h", "d/f", tarfile.LNKTYPE), member("ü" * 120),
    form=tarfile.PAX_FORMAT,
)  # fmt: skip
PLAIN = gzip.decompress(WHOLE)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(PLAIN) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_no_bytes_make_it_write_elsewhere_or_break(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    content = bytearray(PLAIN)
    for at, value in changes:
        content[at] = value
    for start in range(0, len(content), 512):  # with checksums that fit, or nothing is read at all
        block = content[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            content[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    assert "the context archive" in refusal(place, gzip.compress(content, 1))
    assert {path.name for path in place.iterdir()} == {"archive", "tree"}
    assert all(path.resolve().is_relative_to(place) for path in place.rglob("*"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2000), is_packed=st.booleans())
def test_any_bytes_at_all_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, is_packed: bool
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    assert "the context archive" in refusal(place, gzip.compress(content) if is_packed else content)
