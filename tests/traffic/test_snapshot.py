import pytest
from pipecat.bus import (
    BusActivateWorkerMessage,
    BusCancelWorkerMessage,
    BusDeactivateWorkerMessage,
    BusJobRequestMessage,
    BusJobResponseMessage,
    BusJobResponseUrgentMessage,
    BusJobStreamDataMessage,
    BusMessage,
    BusWorkerReadyMessage,
    BusWorkerRegistryMessage,
)
from pipecat.bus import messages as bus_messages
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    FunctionCallResultFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMTextFrame,
    PipelineFlushFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
)

from pipecat_workers_cli.buses.local import Tally
from pipecat_workers_cli.traffic.edges import EdgeKey, EdgeSum
from pipecat_workers_cli.traffic.jobs import Durations, Job, Usual
from pipecat_workers_cli.traffic.kinds import Kind, kind_of
from pipecat_workers_cli.traffic.snapshot import (
    CallTraffic,
    Past,
    Speech,
    active_workers,
    summarise,
)


def tally(count, last, *, size=0, seconds=0.0):
    made = Tally(audio=bool(size))
    made.count, made.last, made.bytes, made.seconds = count, last, size, seconds
    return made


def traffic(call, tallies, *, jobs=()):
    return CallTraffic(call, "test", 10.0, 0, tallies, jobs)


def summed(calls, *, past=None, now=20.0, speech=None):
    speech = {"main": Speech(main=True)} if speech is None else speech
    return summarise(calls, speech=speech, recent=(), past=past or Past(), began=0.0, now=now)


def test_frames_of_one_family_are_summed_up_over_types_directions_and_calls():
    one = {
        (LLMTextFrame, "greeter", None, True): tally(3, 12.0),
        (TranscriptionFrame, "greeter", None, False): tally(4, 15.0),
        (TTSAudioRawFrame, "greeter", None, True): tally(50, 16.0, size=48_000, seconds=1.0),
    }
    other = {(LLMTextFrame, "greeter", None, True): tally(5, 11.0)}
    audio_edge = {
        (TTSAudioRawFrame, "greeter", None, True): tally(50, 14.0, size=48_000, seconds=1.0)
    }
    snapshot = summed([traffic("a", one), traffic("b", other), traffic("c", audio_edge)])
    text, audio = snapshot.edges
    assert (text.kind, text.source, text.target, text.count) == (Kind.TEXT, "greeter", "*", 12)
    assert text.last_seen == pytest.approx(5.0)
    assert (audio.kind, audio.count, audio.bytes, audio.seconds) == (Kind.AUDIO, 100, 96_000, 2.0)


def test_rates_are_what_came_since_the_kept_counts_over_that_time():
    calls = [
        traffic(
            "a",
            {
                (LLMTextFrame, "greeter", None, True): tally(30, 19.0),
                (InterruptionFrame, "main", None, True): tally(2, 19.0),
            },
        )
    ]
    counts = {EdgeKey(Kind.TEXT, "greeter", "*"): 10}
    snapshot = summed(calls, past=Past(counted_at=15.0, counts=counts))
    assert {edge.kind: edge.rate for edge in snapshot.edges} == {
        Kind.TEXT: pytest.approx(4.0),
        Kind.INTERRUPTION: pytest.approx(0.4),
    }


def test_the_sums_of_ended_calls_are_part_of_the_counts():
    ended = {EdgeKey(Kind.TEXT, "greeter", "*"): EdgeSum(100, 0, 0.0, 8.0)}
    calls = [traffic("a", {(LLMTextFrame, "greeter", None, True): tally(1, 9.0)})]
    (edge,) = summed(calls, past=Past(ended=7, edges=ended)).edges
    assert edge.count == 101
    assert edge.last_seen == pytest.approx(11.0)
    assert ended[EdgeKey(Kind.TEXT, "greeter", "*")].count == 100  # nothing given is changed


def test_the_latest_of_activation_and_deactivation_decides():
    tallies = {
        (BusActivateWorkerMessage, "main", "greeter", None): tally(1, 1.0),
        (BusActivateWorkerMessage, "support", "greeter", None): tally(1, 5.0),
        (BusDeactivateWorkerMessage, "greeter", "greeter", None): tally(2, 7.0),
        (BusActivateWorkerMessage, "greeter", "support", None): tally(2, 6.0),
        (BusDeactivateWorkerMessage, "support", "support", None): tally(1, 4.0),
        (BusActivateWorkerMessage, "main", "analyst", None): tally(1, 2.0),
    }
    assert active_workers(tallies) == ("support", "analyst")


def test_a_runner_is_called_runner_and_its_targets_keep_their_names():
    tallies = {
        (BusWorkerRegistryMessage, "runner-1f", None, None): tally(1, 1.0),
        (BusCancelWorkerMessage, "runner-1f", "greeter", None): tally(1, 2.0),
        (BusWorkerReadyMessage, "greeter", None, None): tally(1, 1.0),
    }
    edges = summed([traffic("a", tallies)]).edges
    assert [(e.kind, e.source, e.target) for e in edges] == [
        (Kind.LIFECYCLE, "greeter", "*"),
        (Kind.LIFECYCLE, "runner", "greeter"),
        (Kind.REGISTRY, "runner", "*"),
    ]


def test_running_jobs_stand_first_and_the_latest_first_in_each_half():
    jobs = [
        Job("1", "main", "a", "completed", since=11.0, until=12.0),
        Job("2", "main", "a", "failed", since=11.0, until=18.0),
        Job("3", "main", "a", "started", since=13.0),
        Job("4", "main", "a", "update", since=14.0),
    ]
    views = summed([traffic("a", {}, jobs=jobs)]).jobs
    assert [(view.id, view.age, view.running) for view in views] == [
        ("4", 6.0, True),
        ("3", 7.0, True),
        ("2", 7.0, False),
        ("1", 1.0, False),
    ]


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (LLMContextFrame, Kind.CONTEXT),
        (PipelineFlushFrame, Kind.FLUSH),
        (FunctionCallResultFrame, Kind.TOOL),
        (BotStartedSpeakingFrame, Kind.FRAME),
        (BusJobStreamDataMessage, Kind.JOB_STREAM),
        (BusJobResponseUrgentMessage, Kind.JOB_RESPONSE),
    ],
)
def test_a_type_has_the_kind_of_what_it_is_for(type_, kind):
    assert kind_of(type_) is kind


def test_every_message_that_pipecat_sends_has_a_kind_of_its_own():
    carriers = {"BusMessage", "BusDataMessage", "BusSystemMessage", "BusFrameMessage"}
    sent = [
        type_
        for name, type_ in vars(bus_messages).items()
        if isinstance(type_, type) and issubclass(type_, BusMessage) and name not in carriers
    ]
    assert len(sent) > 20
    assert [type_.__name__ for type_ in sent if kind_of(type_) is Kind.MESSAGE] == []


def test_a_job_is_late_past_half_its_timeout_or_far_over_what_such_jobs_take():
    usual = {("main", "fast"): Usual(20, 0.4, 1.0), ("main", "new"): Usual(2, 0.1, 0.1)}
    jobs = [
        Job("halfway", "main", "coder", "started", since=14.9, timeout=10.0),
        Job("in time", "main", "coder", "started", since=15.1, timeout=10.0),
        Job("unusual", "main", "fast", "update", since=17.9),
        Job("usual", "main", "fast", "started", since=18.1),
        Job("little known", "main", "new", "started", since=11.0),
        Job("answered", "main", "coder", "completed", since=10.0, until=19.0, timeout=10.0),
    ]
    speech = {name: Speech() for name in ("coder", "fast", "new")}
    snapshot = summed([traffic("a", {}, jobs=jobs)], past=Past(usual=usual), speech=speech)
    assert {view.id for view in snapshot.jobs if view.late} == {"halfway", "unusual"}
    counted = {worker.name: (worker.jobs, worker.late) for worker in snapshot.workers}
    assert counted == {"coder": (2, 1), "fast": (2, 1), "new": (1, 0)}


def test_the_edge_of_requests_says_how_long_the_answers_take():
    tallies = {
        (BusJobRequestMessage, "main", "coder", None): tally(20, 12.0),
        (BusJobResponseMessage, "coder", "main", None): tally(20, 13.0),
    }
    usual = {("main", "coder"): Usual(20, 0.4, 1.0)}
    asked, answered = summed([traffic("a", tallies)], past=Past(usual=usual)).edges
    assert (asked.p50, asked.p95) == (0.4, 1.0)
    assert (answered.p50, answered.p95) == (None, None)


def test_usual_times_are_percentiles_of_the_latest_answers():
    durations = Durations()
    for pair, times in {("a", "b"): range(1, 101), ("a", "c"): [3.0]}.items():
        for seconds in times:
            durations.add(pair, float(seconds))
    assert durations.usual() == {
        ("a", "b"): Usual(100, pytest.approx(50.5), pytest.approx(95.05)),
        ("a", "c"): Usual(1, 3.0, 3.0),
    }


GIVEN = {
    (BusActivateWorkerMessage, "main", "greeter", None): tally(1, 11.0),
    (LLMContextFrame, "main", None, True): tally(1, 12.0),
}


@pytest.mark.parametrize(
    ("more", "silent"),
    [
        ({}, 8.0),
        ({(LLMTextFrame, "greeter", None, True): tally(3, 11.5)}, 8.0),
        ({(LLMTextFrame, "greeter", None, True): tally(3, 12.5)}, 0.0),
        ({(BusJobRequestMessage, "greeter", "coder", None): tally(1, 12.5)}, 0.0),
        ({(PipelineFlushFrame, "greeter", None, False): tally(1, 12.5)}, 8.0),
        ({(BusActivateWorkerMessage, "support", "greeter", None): tally(1, 13.0)}, 7.0),
        ({(LLMContextFrame, "main", None, True): tally(2, 16.0)}, 0.0),
    ],
)
def test_a_worker_that_has_the_call_and_left_a_turn_unanswered_is_silent(more, silent):
    call = CallTraffic("a", "test", 10.0, 0, GIVEN | more, main="main")
    (worker,) = summed([call], speech={"greeter": Speech()}).workers
    assert worker.silent == silent


def test_a_worker_that_was_activated_first_owes_no_word():
    tallies = {(BusActivateWorkerMessage, "main", "greeter", None): tally(1, 11.0)}
    call = CallTraffic("a", "test", 10.0, 0, tallies, main="main")
    (worker,) = summed([call], speech={"greeter": Speech()}).workers
    assert (worker.active_in, worker.silent) == (1, 0.0)


@pytest.mark.parametrize(("asked_at", "silent"), [(None, 0.0), (10.0, 0.0), (-5.0, 25.0)])
def test_a_main_worker_that_talks_itself_is_silent_after_a_longer_time(asked_at, silent):
    call = CallTraffic("a", "test", -9.0, 0, {}, talker="main", main="main", asked_at=asked_at)
    (worker,) = summed([call]).workers
    assert worker.silent == silent


def test_what_was_dropped_is_summed_over_calls_that_ended_too():
    calls = [
        CallTraffic(call, "test", 10.0, 0, {}, dropped={"main": count})
        for call, count in (("a", 2), ("b", 3))
    ]
    (worker,) = summed(calls, past=Past(dropped={"main": 10})).workers
    assert worker.dropped == 15


def test_whoever_said_that_it_is_there_is_ready():
    tallies = {(BusWorkerReadyMessage, "main", None, None): tally(1, 11.0)}
    speech = {"main": Speech(main=True), "greeter": Speech()}
    snapshot = summed([traffic("a", tallies), traffic("b", tallies)], speech=speech)
    assert [worker.ready_in for worker in snapshot.workers] == [2, 0]
