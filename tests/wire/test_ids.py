"""Frames that arrive have ids that no local frame has, and know each other still."""

from pipecat.frames import frames
from pipecat.utils.text.base_text_aggregator import TextType

from pipecat_workers_cli.wire.format import Codec
from pipecat_workers_cli.wire.ids import IDS, Ids
from tests.wire.samples import carried


def send(sender, receiver, frame):
    data = sender.encode(carried(frame))
    assert data is not None
    return receiver.decode(data).frame


def a_pair():
    """Two halves of a broadcast, as `FrameProcessor.broadcast_frame` makes them."""
    down, up = frames.InterruptionFrame(), frames.InterruptionFrame()
    down.broadcast_sibling_id, up.broadcast_sibling_id = up.id, down.id
    return down, up


def test_the_halves_of_a_broadcast_find_each_other_under_new_ids():
    there, here = Codec(), Codec()
    down, up = a_pair()
    first, second = send(there, here, down), send(there, here, up)
    assert (first.broadcast_sibling_id, second.broadcast_sibling_id) == (second.id, first.id)
    ids = {down.id, up.id, first.id, second.id}
    assert len(ids) == 4
    later = frames.InterruptionFrame()
    assert later.id not in ids


def test_two_processes_that_count_alike_are_told_apart():
    one, other, here = Codec(), Codec(), Codec()
    down, _ = a_pair()
    assert send(one, here, down).id != send(other, here, down).id


def test_words_name_the_sentence_they_are_of():
    there, here = Codec(), Codec()
    sentence = frames.AggregatedTextFrame("It is", TextType.SENTENCE)
    word = frames.TTSTextFrame("It", TextType.WORD, segment_id=sentence.id)
    progress = frames.AggregatedTextProgressFrame(sentence.id, None, "It is", "word", "It", "is")
    arrived = send(there, here, sentence)
    assert arrived.id != sentence.id
    assert send(there, here, word).segment_id == arrived.id
    assert send(there, here, progress).segment_id == arrived.id
    assert send(there, here, frames.TTSTextFrame("Hm", TextType.WORD)).segment_id is None


def test_a_frame_without_relations_carries_no_ids_and_gets_a_fresh_one():
    there, here = Codec(), Codec()
    data = there.encode(carried(frames.LLMTextFrame("Hi")))
    assert data is not None
    assert here.decode(data).frame.id != here.decode(data).frame.id


def test_what_is_remembered_is_bounded():
    ids = Ids()
    first = ids.here(1, 0)
    for number in range(1, 10 * IDS):
        ids.here(1, number)
    assert len(ids._here) == IDS
    assert ids.here(1, 0) != first
