"""From bytes on disk to ids and back, and every file that cannot be trained on."""

import codecs
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charloom.adapters.files import corpus
from charloom.adapters.files.corpus import prepare, read_text
from charloom.adapters.files.formats import IdsFile
from charloom.core.common.errors import DataError
from charloom.core.common.records import Summary
from charloom.core.common.types import Array, Ids
from charloom.core.text.vocabulary import Vocabulary, code_points
from tests.results import seal

TEXT = "The ferryman — said “naïve” 1,000 times.\n日本語 𝄞\n"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=()), min_size=1))  # all of Unicode, surrogates too
def test_decoding_undoes_encoding(text: str) -> None:
    vocabulary = Vocabulary.of(text)
    assert vocabulary.decode(vocabulary.encode(text)) == text


@settings(deadline=None)
@given(st.text(min_size=1), st.text())
def test_the_unknown_characters_are_those_of_the_text_alone(known: str, text: str) -> None:
    assert Vocabulary.of(known).unknown(text) == sorted(set(text) - set(known))


def test_ids_are_the_places_among_the_sorted_characters() -> None:
    vocabulary = Vocabulary.of("banana é")
    assert vocabulary.characters == " abné"
    assert vocabulary.encode("banana é").tolist() == [2, 1, 3, 1, 3, 1, 0, 4]


@pytest.mark.parametrize(("size", "dtype"), [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65_537, np.uint32)])
def test_ids_are_of_the_smallest_type_that_holds_them(size: int, dtype: Any) -> None:
    characters = "".join(map(chr, range(0x10000, 0x10000 + size)))
    ids = Vocabulary(characters).encode(characters)
    assert ids.dtype == dtype
    assert ids[-1] == size - 1


@pytest.mark.parametrize("unknown", ["\x00", "z", "𝄞", "\U0010ffff"])
def test_an_unknown_character_is_refused_wherever_it_stands_among_the_code_points(unknown: str) -> None:
    with pytest.raises(DataError, match="not among the vocabulary's 3 characters"):
        Vocabulary.of("abc").encode("ab" + unknown)


def test_the_empty_text_has_no_ids() -> None:
    assert Vocabulary.of("abc").encode("").tolist() == []


@settings(deadline=None)
@given(st.text())
def test_code_points_are_those_of_ord(text: str) -> None:
    assert code_points(text).tolist() == [ord(character) for character in text]


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    return path


def prepared(
    path: Path, *, encoding: str = "utf-8", newline: str = "universal", validation_fraction: float = 0.0
) -> Summary:
    out = path.parent / "prepare"
    summary = prepare(path, out, encoding=encoding, newline=newline, validation_fraction=validation_fraction)
    seal(path.parent)
    return summary


def refusal(path: Path, encoding: str = "utf-8") -> str:
    with pytest.raises(DataError) as raised:
        prepared(path, encoding=encoding)
    return str(raised.value)


pieces = pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 7, 1 << 22])


def test_ids_on_disk_are_those_of_the_text(tmp_path: Path) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    on_disk = np.load(tmp_path / "prepare" / "ids.npy")
    np.testing.assert_array_equal(on_disk, Vocabulary.of(TEXT).encode(TEXT), strict=True)


def test_the_vocabulary_on_disk_is_the_sorted_list_of_characters(tmp_path: Path) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    assert json.loads((tmp_path / "prepare" / "vocabulary.json").read_text()) == sorted(set(TEXT))


@pytest.mark.parametrize("size", [256, 257])
def test_ids_on_disk_are_of_the_smallest_type(tmp_path: Path, size: int) -> None:
    text = "".join(map(chr, range(0x100, 0x100 + size)))
    prepared(written(tmp_path, text.encode()))
    assert np.load(tmp_path / "prepare" / "ids.npy").dtype == (np.uint8 if size == 256 else np.uint16)


@settings(deadline=None, max_examples=40)
@given(text=st.text(st.characters(codec="utf-8"), min_size=2).filter(lambda text: len(set(text)) > 1))
def test_what_was_prepared_is_the_text_when_loaded(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = written(tmp_path_factory.mktemp("any"), b"\xef\xbb\xbf" + text.encode())
    prepared(path, newline="keep")
    loaded = corpus.load(path.parent)
    assert loaded.vocabulary.decode(loaded.train_ids) == text


@pieces
def test_a_text_with_characters_of_many_bytes_is_the_same_however_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(corpus, "_PIECE", piece)
    path = written(tmp_path, TEXT.encode())
    assert read_text(path, encoding="utf-8") == TEXT
    summary = prepared(path)
    np.testing.assert_array_equal(np.load(tmp_path / "prepare" / "ids.npy"), Vocabulary.of(TEXT).encode(TEXT))
    assert summary.characters == len(TEXT)
    assert summary.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    path = written(tmp_path, codecs.BOM_UTF8 + b"ab")
    assert read_text(path, encoding="utf-8") == "ab"
    assert prepared(path).characters == 2


def test_only_the_mark_at_the_start_is_stripped(tmp_path: Path) -> None:
    assert read_text(written(tmp_path, "a\ufeffb".encode()), encoding="utf-8") == "a\ufeffb"


@pieces
def test_line_ends_become_line_feeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(corpus, "_PIECE", piece)
    path = written(tmp_path, b"ab\r\ncd\re\n\r\nf\r")
    assert read_text(path, encoding="utf-8", newline="universal") == "ab\ncd\ne\n\nf\n"


@pieces
def test_line_ends_are_kept_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(corpus, "_PIECE", piece)
    path = written(tmp_path, b"ab\r\ncd\re\n\r\nf\r")
    assert read_text(path, encoding="utf-8", newline="keep") == "ab\r\ncd\re\n\r\nf\r"


def test_carriage_returns_are_not_in_the_vocabulary_unless_kept(tmp_path: Path) -> None:
    path = written(tmp_path, b"ab\r\n")
    assert prepared(path, newline="universal").vocabulary_size == 3
    assert prepared(path, newline="keep").vocabulary_size == 4


@pytest.mark.parametrize("piece", [4, 5, 6, 7, 1 << 22])
@pytest.mark.parametrize("offset", [0, 1, 3, 4, 5, 9, 30])
def test_the_offset_of_a_byte_that_is_not_utf_8_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, offset: int
) -> None:
    monkeypatch.setattr(corpus, "_PIECE", piece)
    path = written(tmp_path, b"x" * offset + b"\xff" + b"y" * 20)
    assert f"is not utf-8: byte 0xff at offset {offset} (invalid start byte); set data.encoding" in refusal(path)


@pytest.mark.parametrize("piece", [4, 5, 6, 7, 1 << 22])
def test_the_offset_of_a_character_broken_off_is_that_of_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(corpus, "_PIECE", piece)
    in_the_middle = written(tmp_path, "abc日本".encode() + b"\xe6\x97x" + b"y" * 20)
    assert "byte 0xe6 at offset 9 (invalid continuation byte)" in refusal(in_the_middle)
    at_the_end = written(tmp_path, "abc日本".encode() + b"\xe6\x97")
    assert "byte 0xe6 at offset 9 (unexpected end of data)" in refusal(at_the_end)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_and_utf_32_are_named(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "It was a dark and stormy night.".encode(encoding))
    assert refusal(path).endswith(f"looks like {encoding.upper()}, not utf-8; set data.encoding={encoding}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-8-sig"])
def test_a_text_is_read_in_the_encoding_that_is_given(tmp_path: Path, encoding: str) -> None:
    path = written(tmp_path, "naïve\n".encode(encoding))
    assert read_text(path, encoding=encoding) == "naïve\n"


def test_utf_16_without_its_mark_is_refused_where_the_mark_is_needed(tmp_path: Path) -> None:
    path = written(tmp_path, "naïve\n".encode("utf-16-le"))
    assert "is not utf-16: UTF-16 stream does not start with BOM; set data.encoding" in refusal(path, "utf-16")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give a text"),
        (codecs.BOM_UTF8, "is empty; give a text"),
        (b"a", "has one character; give a text of at least two"),
        ("日".encode(), "has one character"),
        (b"aaaa", "has a single distinct character, 'a', 4 times; nothing to learn"),
        (b"\r\n\r\n", r"has a single distinct character, '\n', 2 times"),
    ],
)
def test_a_text_that_cannot_be_learnt_from_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(written(tmp_path, content))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.txt") == f"there is no file {tmp_path / 'no.txt'}; set data.path to a text file"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    problem = "it must be a regular file, got a directory"
    assert refusal(tmp_path) == f"{tmp_path} cannot be read: {problem}; set data.path to a text file"


@pytest.mark.skipif(os.name != "posix", reason="kinds of files of POSIX")
def test_a_fifo_a_device_and_a_loop_of_links_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "cannot be read: it must be a regular file, got a FIFO; set data.path" in refusal(tmp_path / "fifo")
    assert "cannot be read: it must be a regular file, got a device; set data.path" in refusal(Path("/dev/zero"))
    assert "cannot be opened (Too many levels of symbolic links); set data.path" in refusal(tmp_path / "loop")
    assert "cannot be opened (File name too long); set data.path" in refusal(tmp_path / ("x" * 300))


def test_half_of_a_surrogate_pair_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"a text +2AA- and more")
    assert refusal(path, "utf-7") == (
        f"{path} has half of a surrogate pair, which is no character; set data.encoding to the text's own"
    )


def test_a_text_that_is_replaced_while_it_is_read_is_prepared_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, TEXT.encode())
    survey = corpus._survey

    def survey_and_replace(*arguments: Any) -> Any:
        path.write_bytes(TEXT.swapcase().encode())
        return survey(*arguments)

    monkeypatch.setattr(corpus, "_survey", survey_and_replace)
    summary = prepared(path)
    assert summary.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    loaded = corpus.load(tmp_path)
    assert loaded.vocabulary.decode(loaded.train_ids) == TEXT


def test_a_text_larger_than_its_place_in_memory_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_IN_MEMORY", 5)
    assert read_text(written(tmp_path, TEXT.encode()), encoding="utf-8") == TEXT


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"abc")
    path.chmod(0)
    assert "may not be read; change its permissions" in refusal(path)


def test_a_refused_text_leaves_nothing_behind(tmp_path: Path) -> None:
    refusal(written(tmp_path, b"x" * 100 + b"\xff"))
    assert not (tmp_path / "prepare").exists()


@pytest.mark.parametrize(
    ("fraction", "length", "train", "validation"),
    [(0.0, 1003, 1003, 0), (0.1, 1000, 900, 100), (0.1, 1003, 903, 100), (0.1, 1006, 905, 101), (0.1, 4, 4, 0)],
)
def test_the_split_is_cut_once_with_the_validation_text_last(
    tmp_path: Path, fraction: float, length: int, train: int, validation: int
) -> None:
    text = ("abcdefghij" * 101)[:length]
    summary = prepared(written(tmp_path, text.encode()), validation_fraction=fraction)
    assert (summary.characters, summary.train_characters, summary.validation_characters) == (length, train, validation)
    loaded = corpus.load(tmp_path)
    assert loaded.vocabulary.decode(loaded.train_ids) == text[:train]
    assert loaded.vocabulary.decode(loaded.validation_ids) == text[train:]


def test_a_split_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, b"ab")
    with pytest.raises(DataError, match=r"data\.validation_fraction=0\.9 leaves none of the 2 characters"):
        prepared(path, validation_fraction=0.9)


def test_preparing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.encode())
    prepared(path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "prepare").iterdir()}
    prepared(path)
    assert {file.name: file.read_bytes() for file in (tmp_path / "prepare").iterdir()} == before
    assert sorted(before) == ["SHA256SUMS", "ids.npy", "summary.json", "vocabulary.json"]


NAMES = ["ids.npy", "summary.json", "vocabulary.json"]


def load_refusal(inp: Path) -> str:
    with pytest.raises(DataError) as raised:
        corpus.load(inp)
    message = str(raised.value)
    assert "\n" not in message
    assert str(inp) in message
    assert "; run the prepare stage " in message
    return message


@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_corpus_without_one_of_its_files_is_refused(tmp_path: Path, name: str) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    (tmp_path / "prepare" / name).unlink()
    assert load_refusal(tmp_path).startswith(f"{tmp_path}/prepare/{name} is missing; run the prepare stage first")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 1, 8, 9, -9])
def test_a_prepared_corpus_with_a_file_cut_short_is_refused(tmp_path: Path, name: str, kept: int) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    file = tmp_path / "prepare" / name
    file.write_bytes(file.read_bytes()[:kept])
    message = load_refusal(tmp_path)
    assert message.startswith(f"{file} is damaged (")
    assert message.endswith("); run the prepare stage again")


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (np.array(3, np.uint8), "uint8 of shape ()"),
        (np.zeros((4, 12), np.uint8), "uint8 of shape (4, 12)"),
        (np.zeros(len(TEXT)), f"float64 of shape ({len(TEXT)},)"),
        (np.zeros(len(TEXT), np.int64), f"int64 of shape ({len(TEXT)},)"),
        (np.array(["a"]), "<U1 of shape (1,)"),
    ],
)
def test_ids_that_are_not_unsigned_integers_in_one_dimension_are_refused(
    tmp_path: Path, ids: Array, found: str
) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    np.save(tmp_path / "prepare/ids.npy", ids)
    assert load_refusal(tmp_path) == (
        f"{tmp_path}/prepare/ids.npy is damaged (ids must be unsigned integers in one dimension, got {found}); "
        "run the prepare stage again"
    )


def test_ids_that_are_a_pickle_are_refused_unread(tmp_path: Path) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    np.save(tmp_path / "prepare/ids.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "ids.npy is damaged (ids must be unsigned integers in one dimension, got object" in load_refusal(tmp_path)


def test_an_id_that_no_character_has_is_refused(tmp_path: Path) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    np.save(tmp_path / "prepare/ids.npy", np.full(len(TEXT), 200, np.uint8))
    seal(tmp_path)
    assert "ids.npy is damaged (an id must be below the vocabulary's 28 characters, got 200)" in load_refusal(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_in_a_file_of_a_prepared_corpus_is_refused(tmp_path: Path, name: str) -> None:
    prepared(written(tmp_path, TEXT.encode()))
    file = tmp_path / "prepare" / name
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    assert load_refusal(tmp_path).startswith(f"{file} is damaged (its sha256 must be the one in SHA256SUMS, got ")


def test_the_files_of_two_corpora_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, TEXT.encode())
    prepared(path)
    read = IdsFile.read

    def prepare_and_read(*arguments: Any, **options: Any) -> Ids:
        path.write_bytes(TEXT[::-1].encode())
        prepared(path)
        return read(*arguments, **options)

    monkeypatch.setattr(IdsFile, "read", prepare_and_read)
    with pytest.raises(DataError, match=r"the prepare stage replaced the files in .* while they were read; run this"):
        corpus.load(tmp_path)


def test_a_loaded_corpus_stays_as_it_is_when_another_is_prepared(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.encode())
    prepared(path)
    loaded = corpus.load(tmp_path)
    path.write_bytes(TEXT[::-1].encode())
    prepared(path)
    assert loaded.vocabulary.decode(loaded.train_ids) == TEXT


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_changed_byte_in_the_header_of_the_ids_is_refused_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    path = written(tmp_path_factory.mktemp("any"), TEXT.encode())
    prepared(path)
    before = corpus.load(path.parent).train_ids
    file = path.parent / "prepare/ids.npy"
    content = bytearray(file.read_bytes())
    content[at] = byte
    file.write_bytes(content)
    try:
        after = corpus.load(path.parent).train_ids
    except DataError:
        load_refusal(path.parent)
    else:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("ids.npy", np.zeros(3, np.uint8), f"there are 3 ids, the summary says {len(TEXT)} characters"),
        ("ids.npy", np.zeros(0, np.uint8), f"there are 0 ids, the summary says {len(TEXT)} characters"),
        ("vocabulary.json", ["a", "b"], "the vocabulary has 2 characters, its summary says 28"),
        ("vocabulary.json", ["b", "a"], "the vocabulary must be a sorted list of distinct characters"),
        ("vocabulary.json", ["a", "a"], "the vocabulary must be a sorted list of distinct characters"),
        ("vocabulary.json", ["ab", "c"], "the vocabulary must be a sorted list of distinct characters"),
        ("summary.json", {"train_characters": 40}, "40 training and 5 validation characters are not the whole text"),
        ("summary.json", {"train_characters": 0}, "0 training and 5 validation characters are not the whole text"),
        ("summary.json", {"validation_characters": -1}, "42 training and -1 validation characters are not the whole"),
    ],
)
def test_files_of_a_prepared_corpus_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, content: Any, problem: str
) -> None:
    prepared(written(tmp_path, TEXT.encode()), validation_fraction=0.1)
    file = tmp_path / "prepare" / name
    if name == "ids.npy":
        np.save(file, content)
    else:
        text = json.dumps(content if isinstance(content, list) else json.loads(file.read_text()) | content)
        file.write_text(text)
    seal(tmp_path)
    message = load_refusal(tmp_path)
    assert message.startswith(f"the files in {tmp_path / 'prepare'} disagree: {problem}")
    assert message.endswith("; run the prepare stage again")
