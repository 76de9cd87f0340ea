"""Model files: what is read from a good one, and one clear line for every bad one."""

import io
import json
import math
import zipfile
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdense_edge.errors import ModelError, UsageError, printable
from mmdense_edge.model import bundled, container, model_file
from mmdense_edge.model.contract import Transform, parse
from mmdense_edge.model.model_file import load_model, read_contract

SHA = "0" * 64


def one_line(error: ModelError) -> bool:
    return str(error).isprintable() and 10 < len(str(error)) < 600


def refused(path, match: str) -> None:
    with pytest.raises(ModelError, match=match) as caught:
        load_model(path)
    assert one_line(caught.value)


def test_a_contract_is_read(model_path):
    model = load_model(model_path("mono"))
    contract = model.contract
    assert contract == read_contract(str(model_path("mono")))
    assert contract.sources == ("speech", "noise")
    assert contract.transform == Transform(256, 96, "hann")
    assert (contract.sample_rate, contract.bins, contract.channels) == (16000, 120, 1)
    assert (contract.frames, contract.context_frames, contract.step_frames) == (12, 2, 8)
    assert contract.outputs == {"speech": "speech", "noise": "noise"}
    assert model.content[4:8] == b"TFL3"
    assert model.file_bytes == model_path("mono").stat().st_size
    with pytest.raises(FrozenInstanceError):
        contract.bins = 3


def test_an_archive_that_was_written_apart_is_read(model_path, tmp_path):
    """Any ZIP program reads and writes it; its offsets may count from its own start."""
    model = load_model(model_path("shares"))
    with zipfile.ZipFile(model.path) as archive:
        text = archive.read("contract.json")
    assert parse(text) == model.contract
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("contract.json", text)
    (tmp_path / "apart.tflite").write_bytes(model.content + buffer.getvalue())
    assert load_model(tmp_path / "apart.tflite").content == model.content


def test_unknown_entries_are_kept(pack):
    assert read_contract(pack({"colour": "red"})).extra == {"colour": "red"}


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("format", "other", "'format' must be 'mmdense-model'"),
        ("version", 4, "version 4, but this runner reads versions up to 3. Update"),
        ("version", 0, "'version' must be a positive integer; received 0"),
        ("version", True, "'version' must be a positive integer; received True"),
        ("version", "1", "'version' must be"),
        ("name", "", "'name' must be one line of 1 to 200"),
        ("name", "two\nlines", "'name' must be one line"),
        ("name", "\x1b[31mred", "'name' must be one line"),
        ("name", "n" * 201, "'name' must be one line"),
        ("model_sha256", SHA, "checksum mismatch"),
        ("model_sha256", "abc", "'model_sha256' must be 64"),
        ("parity", {"snr": 10**400}, "'parity' must be an object of finite numbers"),
        ("parity", {"snr": math.inf}, "Infinity is not a valid JSON number"),
        ("sources", [], "'sources' must be"),
        ("sources", "vocals", "'sources' must be"),
        ("sources", ["a", "A"], "'sources' must be"),
        ("sources", ["../a"], "'sources' must be"),
        ("sources", ["a/b"], "'sources' must be"),
        ("sources", ["a\n"], "'sources' must be"),
        ("sources", [["a"]], "'sources' must be"),
        ("sources", ["residual"], "other than mixture and residual"),
        ("sources", [f"s{i}" for i in range(65)], "'sources' must be"),
        ("sources", ["drums"], "'outputs' must name each source once"),
        ("sample_rate", 999, "integer from 1000 to 768000; received 999"),
        ("sample_rate", 44100.0, "'sample_rate' must be an integer"),
        ("transform", [], "'transform' must be an object"),
        ("transform", {}, "lacks 'n_fft'"),
        ("transform", {"n_fft": 2047, "hop_length": 512, "window": "hann"}, "an even integer"),
        ("transform", {"n_fft": 2048, "hop_length": 1025, "window": "hann"}, "1 to 1024"),
        ("transform", {"n_fft": 2048, "hop_length": 0, "window": "hann"}, "'hop_length'"),
        ("transform", {"n_fft": 2**40, "hop_length": 4, "window": "hann"}, "'n_fft'"),
        ("transform", {"n_fft": 2048, "hop_length": 1024, "window": "kaiser"}, "one of hann"),
        ("bins", 1026, "'bins' must be at most 1025 for n_fft 2048; received 1026"),
        ("channels", 3, "'channels' must be an integer from 1 to 2"),
        ("frames", 0, "'frames' must be"),
        ("frames", 8, "must exceed 2 \\* 'context_frames'"),
        ("frames", 18, "multiples of 'frame_multiple'; received 18, 4, 4"),
        ("context_frames", 3, "multiples of 'frame_multiple'; received 16, 3, 4"),
        ("context_frames", -4, "'context_frames' must be"),
        ("frames", 65536, "at most .* values; received 65536 frames"),
        ("frame_multiple", 0, "'frame_multiple' must be"),
        ("input", 5, "'input' must be"),
        ("outputs", {"drums": 5}, "'outputs' must be"),
        ("outputs", [], "'outputs' must be an object"),
        ("output", "wave", "one of magnitude, mask; received 'wave'"),
        ("output", ["mask"], "one of magnitude, mask"),
        ("precision", "int4", "'precision' must be one of"),
        ("licence", None, "'licence' must be text"),
        ("training_data", "x" * 10001, "'training_data' must be text"),
        ("parity", {"snr": "high"}, "'parity' must be an object of finite numbers"),
        ("parity", {"snr": True}, "'parity' must be an object of finite numbers"),
        ("settings", 1, "'settings' must be an object"),
        ("scores", [1], "'scores' must be"),
        ("scores", {"vocals": "5"}, "'scores' must be"),
        ("scores", {"vocals": True}, "'scores' must be"),
        ("macs_per_second", 0, "'macs_per_second' must be"),
        ("macs_per_second", "1e9", "'macs_per_second' must be"),
        ("macs_per_second", None, "'macs_per_second' must be"),
        *(
            (name, ..., f"lacks '{name}'")
            for name in ("sources", "transform", "settings", "frames")
        ),
        # What is long is not quoted whole.
        ("outputs", {str(number): "a" for number in range(5000)}, "each source once"),
        ("name", "x" * 5000, "'name' must be one line"),
        ("version", "x" * 5000, "'version' must be"),
    ],
)
def test_an_entry_out_of_range_or_missing_is_refused(pack, name, value, match):
    refused(pack(drop=name) if value is ... else pack({name: value}), match)


def test_states_are_read(pack, model_path):
    contract = read_contract(model_path("causal"))
    states = contract.states
    assert states.taps == ((0, 128, 1), (0, 64, 2))
    assert (states.read, states.kept, states.windows) == (192, 128, 2)
    assert read_contract(model_path("shares")).states is None


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"version": 1}, "'version' must be 2 or 3 with 'states'; received 1"),
        ({"states": []}, "'states' must be an object"),
        ({"states": {"input": "past", "output": "present"}}, "lacks 'taps'"),
        ({"states": {"output": "present", "taps": [[0, 1, 1]]}}, "lacks 'input'"),
        ({"frames": 2}, "'context_frames' with 'states'; received 1, 2, 0"),
        ({"input": "past"}, "'states' must have names of their own"),
        *(
            ({"states": {"input": "past", "output": "present", "taps": taps}}, "a list of 1 to")
            for taps in (
                [], {}, [[0, 1]], [0, 1, 1], [[0, 1, 1.0]], [[0, 1, True]], [[-1, 1, 1]],
                [[1, 1, 1]], [[0, 1, 0]], [[0, 2**25, 1]], [[0, 1, 2**25]], [[0, 1, 1]] * 4097,
            )
        ),
        *(
            ({"states": {"input": "past", "output": "present", "taps": taps}}, "at most 16777216")
            for taps in ([[0, 2**13, 2**12]], [[0, 2**13, 1]] * 4096)
        ),
    ],
)  # fmt: skip
def test_states_out_of_range_are_refused(pack, changes, match):
    refused(pack(changes, base="causal"), match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[" * 100000, "not valid JSON"),
        (b'{"a":' * 100000, "not valid JSON"),
        (b"[" * 50 + b"]" * 50, "nested more than 32 levels"),
        (b"1" * 100000, "valid JSON .* 100000 digits"),
        (b'{"parity": NaN}', "NaN is not a valid JSON number"),
        (b"[]", "'format' must be"),
        (b"null", "'format' must be"),
        (b"{}", "'format' must be"),
        (b" " * (container.MAX_CONTRACT_BYTES + 1), "at most 1048576 bytes; received 1048577"),
    ],
)
def test_text_that_is_no_contract_is_refused(pack, text, match):
    refused(pack(text=text), match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"members": ("x" * 60000,)}, "must hold contract.json"),
        ({"members": ("contract.json", "more.json")}, "exactly one file, contract.json"),
        ({"members": ()}, "exactly one file, contract.json; it lists 0"),
        ({"members": ("other.json",)}, "must hold contract.json; received 'other.json'"),
        ({"compression": zipfile.ZIP_DEFLATED}, "must be stored"),
    ],
)
def test_the_archive_holds_one_stored_member(pack, changes, match):
    refused(pack(**changes), match)


def spliced(at: int, part: bytes, to: int | None = None):
    """Returns what puts bytes in the place of others."""
    return lambda data: data[:at] + part + data[at if to is None else to :]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: data[: data.index(b"PK\3\4")], "has no contract"),
        (lambda data: data + b"more", "has no contract"),
        # A directory without bounds is not read.
        (spliced(-22, b"PK\6\7" + bytes(16)), "must hold exactly one file"),
        (spliced(-10, (1 << 21).to_bytes(4, "little"), -6), "must hold exactly one file"),
        # The length of the name in the member's own header.
        (
            lambda data: data.replace(b"\r\0\0\0contract", b"\xb8\x0b\0\0contract", 1),
            "the archive with the contract is damaged",
        ),
        (
            spliced(900, b"12", 902),
            "checksum mismatch: the contract says .*: copy or export the model again",
        ),
        *(
            (lambda _, content=content: content, "not a TFLite model")
            for content in (b"", b"hello", b"PK\5\6" + bytes(18), bytes(100))
        ),
    ],
)
def test_a_file_that_was_changed_is_refused(pack, damage, match):
    path = pack()
    path.write_bytes(damage(path.read_bytes()))
    refused(path, match)


def test_another_file_is_refused(pack, tmp_path, monkeypatch):
    refused(tmp_path / "none.tflite", "no model file at")
    refused(tmp_path, "no model file at")
    odd = tmp_path / "two\nlines.tflite"
    odd.write_bytes(b"")
    refused(odd, r"two\\nlines.tflite: not a TFLite model")
    good = pack()
    monkeypatch.setattr(model_file, "MAX_FILE_BYTES", good.stat().st_size - 1)
    refused(good, "larger than")


def outcome(read, argument):
    """Returns (result, None) or (None, error); only a ModelError is caught."""
    try:
        return read(argument), None
    except ModelError as error:
        return None, error


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_is_refused_or_harmless(model_path, tmp_path, data):
    """Flipped bits, cuts and insertions: a ModelError in one line, or the very same content."""
    path = model_path("mono_identity")
    whole, good = path.read_bytes(), load_model(path)
    damaged = bytearray(whole)
    last = len(whole) - 1
    # Most damage goes where the structure is: the two heads, and the archive.
    place = data.draw(st.integers(0, last) | st.integers(0, 64) | st.integers(last - 1800, last))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
    if kind == "flip":
        damaged[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del damaged[place : place + data.draw(st.integers(1, 4000))]
    elif kind == "insert":
        damaged[place:place] = data.draw(st.binary(min_size=1, max_size=70))
    else:
        damaged += damaged[place:]
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(damaged)
    model, error = outcome(load_model, broken)
    # A few bytes of an archive's header, such as its date, mean nothing to the contents.
    same = model is not None and (model.content, model.contract) == (good.content, good.contract)
    assert same or one_line(error)
    assert model is None or same


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.sampled_from([0, 1, 2, 16, 1024, 2048, -1, 2**31, 2**63, 10**40, 1e308, True, "1"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_is_refused_or_taken(model_path, data):
    with zipfile.ZipFile(model_path("causal")) as archive:
        values = json.loads(archive.read("contract.json"))
    name = data.draw(st.sampled_from([*sorted(values), "scores", "macs_per_second", "x"]))
    value = data.draw(JSON | NUMBERS | st.lists(st.lists(NUMBERS, min_size=3, max_size=3)))
    if name in ("transform", "states"):
        value = {**values[name], data.draw(st.sampled_from(sorted(values[name]))): value}
    values[name] = value
    contract, error = outcome(parse, json.dumps(values).encode())
    assert contract is not None or one_line(error)


def test_printable_keeps_letters_and_escapes_controls():
    assert printable("Ärger 音楽 1") == "Ärger 音楽 1"
    assert printable("a\nb\x1b[0m\udcff") == "a\\nb\\x1b[0m\\udcff"


def test_the_names_of_bundled_models(tmp_path, monkeypatch):
    assert bundled.library_name("mmdensenet-edge-int8") == "mmdensenet-edge"
    assert bundled.library_name("song") is None
    assert bundled.find("mmdensenet-micro").name == "mmdensenet-micro-int8.tflite"
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, text in (("tiny.tflite", ""), ("large.tflite", ""), ("DEFAULT", "tiny\n"), ("x", "")):
        (tmp_path / name).write_text(text)
    assert bundled.names() == ["large", "tiny"]
    assert bundled.find() == bundled.find("tiny") == tmp_path / "tiny.tflite"
    assert [str(bundled.find(path)) for path in ("a/b.tflite", "x")] == ["a/b.tflite", "x"]
    for name, words in (
        ("mmdensenet-vocals", "is bundled as Keras weights only: write its file with"),
        ("tni", "called 'tni'; bundled models: large, tiny"),
    ):
        with pytest.raises(UsageError, match=words):
            bundled.find(name)


@pytest.mark.parametrize(
    ("macs", "speed"), [(0.6e9, "fast"), (0.61e9, "medium"), (2e9, "medium"), (2.1e9, "slow")]
)
def test_speed_classes(pack, macs, speed):
    assert read_contract(pack({"macs_per_second": macs})).speed_class == speed
