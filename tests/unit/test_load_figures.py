"""What a run's rows mean: phases, promises, limits in their order; the search for a knee; the twin beside a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest import run_report
from loadtest.cpu import Spent
from loadtest.emulated import Pool
from loadtest.knee import Limit, Trial, find, judge
from loadtest.measured import measure, open_at
from loadtest.plan import promise
from loadtest.quantile import quantile
from loadtest.rows import Recorded, Row, line, read
from loadtest.saturation import Clip
from loadtest.scenarios import PREVIEW, Request, hastened
from loadtest.twin_report import coloured
from loadtest.validation import Case, Compared, Overheads, begun, compare, predict, probed
from serving.jobs.job import accepted_at, new_job_id

TIMINGS = {"wait": 2.0, "condition": 0.5, "denoise": 3.0, "decode": 0.5, "encode": 1.0}


def done(number: int, at: float, wait_s: float = 2.0, **changed: object) -> Row:
    """Sent a tenth late, accepted in a tenth; six seconds of card and encoder, seen within a second, fetched in one."""
    accepted = at + 0.2
    values = {
        "sent": at + 0.1,
        "answered": accepted,
        "status": 200,
        "accepted": accepted,
        "began": accepted + wait_s,
        "done": accepted + wait_s + 6.0,
        "downloaded": accepted + wait_s + 7.0,
        "timings": TIMINGS | {"wait": wait_s},
        "card": "rtx4090",
        "outcome": "completed",
    }
    return Row(**({"number": number, "kind": "preview", "at": at} | values | changed))  # type: ignore[arg-type]


def refused(number: int, at: float) -> Row:
    return Row(number=number, kind="preview", at=at, sent=at, answered=at + 0.1, outcome="refused", reason="full")


def test_phases_add_up_to_the_whole() -> None:
    row = done(0, 10.0)
    assert dict(row.phases) == pytest.approx(
        {"submit": 0.2, "queue": 2.0, "generation": 4.0, "encode": 1.0, "rest": 1.0, "download": 1.0}
    )
    assert row.whole_s == pytest.approx(sum(row.phases.values()))


def test_a_peer_that_tells_no_timings_has_what_polls_saw() -> None:
    row = done(0, 10.0, timings={})
    assert dict(row.phases) == pytest.approx({"submit": 0.2, "queue": 2.0, "generation": 6.0, "download": 1.0})
    found = measure(Recorded({}, [row]))
    assert (found.cost.card_s, found.cost.dollars) == ({}, None)


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [done(0, 1.0), refused(1, 2.0)]
    (tmp_path / "requests.jsonl").write_text('{"scenario": "mix"}\n' + "".join(map(line, reversed(rows))))
    run = read(tmp_path)
    assert list(run.rows) == rows
    assert run.about == {"scenario": "mix"}


def test_a_last_line_that_was_cut_off_is_left_out_and_any_other_is_named(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    whole = '{"scenario": "mix", "requests": 3}\n' + line(done(0, 1.0)) + line(done(1, 2.0))
    path.write_text(whole + line(done(2, 3.0))[:-9])
    run = read(tmp_path)
    assert [row.number for row in run.rows] == [0, 1]
    assert "2 of 3 requests" in run_report.notes(run)[1]
    for broken in ("", '{"scenario": "mix"', whole + '{"number": 2}\n', whole + "what?\n"):
        path.write_text(broken)
        with pytest.raises(ValueError, match="is empty" if len(broken) < 50 else "line 4 of"):
            read(tmp_path)


def test_runs_of_other_requests_are_told_apart() -> None:
    one = {"scenario": "sale", "seed": 0, "times": 6.0, "from_hour": 1.0, "minutes": 1.0, "url": "http://a"}
    assert run_report.unlike(one, one | {"url": "http://b"}) == []
    assert run_report.unlike(one, one | {"times": 3.0, "seed": 1}) == ["seed: 0 and 1", "times: 6.0 and 3.0"]


def test_no_kind_is_left_out_of_a_plot() -> None:
    found = coloured(f"kind {n}" for n in range(12) for _ in range(20 - n))
    assert len(found) == 12
    assert len({colour for _, colour in found.values()}) == 8
    assert {found[f"kind {n}"][0] for n in range(7, 12)} == {"others"}


@pytest.mark.filterwarnings("error")
def test_a_run_of_which_nothing_came_is_drawn_too() -> None:
    run = Recorded({}, [refused(0, 1.0), refused(1, 2.0)])
    found = measure(run, [promise("wait.p95=3s")])
    assert len(run_report.draw({"run": (run, found)}).axes) == 4


def test_a_try_without_a_request_holds_nothing() -> None:
    assert not judge(Recorded({}, []), 0.1, 1.0, [promise("p90=20s")]).held


def test_goodput_counts_what_was_in_time_alone() -> None:
    rows = [*(done(n, float(n)) for n in range(8)), done(8, 8.0, wait_s=52.0), refused(9, 9.0)]
    found = measure(Recorded({}, rows), [promise("p80=10s"), promise("p90=10s"), promise("wait.p80=3s")])
    assert [(one.asked, one.good, one.kept) for one in found.kept] == [(10, 8, True), (10, 8, False), (10, 8, True)]
    assert found.kept[0].goodput == pytest.approx(8 / (8 + 0.2 + 52 + 7) * 60)
    assert found.refusals == {"full": 1}
    assert found.cost.dollars == pytest.approx(9 * 4.0 / 3600 * 0.40)
    assert found.phases["all"]["queue"].p50 == pytest.approx(2.0)
    assert found.phases["all"]["queue"].p99 == pytest.approx(52.0)


def test_a_quantile_is_a_value_that_occurred() -> None:
    twenty = [float(n) for n in range(20, 0, -1)]
    assert [quantile(twenty, share) for share in (0.0, 0.05, 0.5, 0.51, 0.95, 1.0)] == [
        1.0,
        1.0,
        10.0,
        11.0,
        19.0,
        20.0,
    ]
    assert quantile([], 0.5) == float("inf")


def test_open_requests_over_time() -> None:
    rows = [done(0, 0.0), done(1, 1.0), refused(2, 1.0)]
    assert open_at(rows, 2.0)[:6] == [(0.0, 0), (2.0, 2), (4.0, 2), (6.0, 2), (8.0, 2), (10.0, 0)]


def test_the_limit_that_was_reached_first_is_named_first() -> None:
    """A line that grows by a second a request: the tail is late at ten seconds, refusals come at last."""
    rows = [done(n, float(n), wait_s=0.5 * n) for n in range(100)] + [refused(100 + n, 99.0) for n in range(5)]
    judged = judge(Recorded({}, rows), 1.0, 100.0, [promise("p90=20s")])
    assert not judged.held
    assert [limit.name for limit in judged.limits][-1] == "refusals"
    assert {"the line", "interactive latency p90 within 20 s"} < {limit.name for limit in judged.limits}
    late = next(limit for limit in judged.limits if "p90" in limit.name)
    assert "on queue" in late.detail
    # The first to break it was due at 26; ten more may. That one's time was up twenty seconds after.
    assert late.at_s == pytest.approx(56.0, abs=1.5)


def test_a_steady_line_is_no_limit() -> None:
    rows = [done(n, float(n), wait_s=2.0 + n % 7) for n in range(200)]
    assert judge(Recorded({}, rows), 1.0, 200.0, [promise("p90=20s")]).held


def test_percentiles_of_a_try_are_of_those_that_were_promised_something() -> None:
    batch = [done(100 + n, float(n), wait_s=500.0, kind="night", priority="batch") for n in range(10)]
    rows = [done(n, float(n)) for n in range(10)] + batch
    assert judge(Recorded({}, rows), 1.0, 10.0, [promise("p90=20s")]).p95_s == pytest.approx(9.2)
    assert judge(Recorded({}, rows), 1.0, 10.0, [promise("night:p90=20s")]).p95_s == pytest.approx(507.2)


@pytest.mark.parametrize(("limit", "start"), [(0.83, 0.1), (0.83, 5.0), (7.0, 0.1)])
def test_the_knee_is_found_from_below_and_above(limit: float, start: float) -> None:
    tried = []

    def trial(rate: float, seconds: float, number: int) -> Trial:
        tried.append((rate, seconds))
        broken = [] if rate <= limit else [Limit("refusals", 3.0, "9 of 10")]
        return Trial(rate, seconds, broken, 1.0, 2.0, 0.0, 0, {})

    found = find(trial, start, 60.0, 600.0, 0.1)
    assert found.rate is not None
    assert 0.89 * limit <= found.rate <= limit
    assert (found.rate, 600.0) in tried
    assert len(tried) < 15
    assert "refusals gave first, after 3 s" in found.words


def test_a_rate_that_holds_for_a_minute_alone_is_lowered() -> None:
    def trial(rate: float, seconds: float, number: int) -> Trial:
        broken = [Limit("the line", 300.0, "it grew")] if rate > (0.5 if seconds > 60 else 0.8) else []
        return Trial(rate, seconds, broken, 1.0, 2.0, 0.0, 0, {})

    found = find(trial, 0.1, 60.0, 600.0, 0.1)
    assert found.rate is not None
    assert 0.45 <= found.rate <= 0.5


def test_where_nothing_holds_there_is_no_rate() -> None:
    found = find(lambda rate, s, n: Trial(rate, s, [Limit("x", 0.0, "y")], 1, 1, 0, 0, {}), 1.0, 60.0, 600.0, 0.1)
    assert found.rate is None


def test_a_window_of_a_scenario_faster() -> None:
    asked = [Request(float(n), "k", "o", {"deadline": 60.0}) for n in range(100)]
    found = list(hastened(asked, times=10.0, seconds=2.0, begin=50.0))
    assert [round(one.at, 3) for one in found] == [n / 10 for n in range(20)]
    assert {one.fields["deadline"] for one in found} == {6.0}


def test_the_twin_is_held_against_what_was_measured() -> None:
    """One card, a preview every tenth of what it takes: waits grow evenly, and both say so."""
    case = Case("one", (Pool("rtx4090", 1, 1),))
    overheads = Overheads(intake_s=0.1, slowness=1.0, gap_s=0.03, start_s=0.0, start_beside_s=0.0)
    asked = [Request(0.1 * n, "preview", "", PREVIEW) for n in range(40)]
    waits = predict(case, asked, 10.0, overheads, seed=0)[""]
    # The first finds the card idle, the next waits for one clip.
    assert waits[0] == pytest.approx(0.1)
    each_s = waits[1] - waits[0] + 0.1
    assert waits[-1] == pytest.approx(0.1 + 39 * (each_s - 0.1), rel=0.01)

    def played(times: float) -> Recorded:
        rows = [done(n, 0.1 * n, began=0.1 * n + times * wait) for n, wait in enumerate(waits)]
        return Recorded({}, rows)

    assert compare(case, played(1.0), asked, 10.0, overheads).kept
    assert not compare(case, played(1.3), asked, 10.0, overheads).kept
    lost = Recorded({}, [*played(1.0).rows, refused(40, 4.0)])
    assert not compare(case, lost, asked, 10.0, overheads).kept


def test_a_wait_ends_where_the_card_begins_and_not_at_the_claim() -> None:
    job = new_job_id()
    accepted = accepted_at(job)
    assert accepted is not None
    rows = [done(0, 1.0, id=job), done(1, 2.0, id=new_job_id())]
    clip = Clip(7, accepted + 3.0, accepted + 9.0, {}, job)
    first, other = begun(Recorded({}, rows), [clip]).rows
    assert first.began == pytest.approx(1.0 + 0.2 + 3.0)
    assert other == rows[1]


def test_what_the_probe_says() -> None:
    """A card starts in 5 s, half a second of which the simulation takes too; three at once in 9, 11 and 13; an idle
    card begins half a second after its request; gaps are of a quarter."""
    begins = {"alone": [(1, 6.0)], "beside": [(1, 10.5), (2, 20.0), (3, 22.0), (4, 24.0), (2, 22.25)]}
    begins |= {"single": [(1, 40.5), (2, 40.5)], "many": [(1, 50.5), (2, 51.5), (1, 52.75), (2, 53.75)]}
    due = {"alone": 0.0, "beside": 10.0, "single": 40.0, "many": 50.0}
    clips, runs = [], {}
    for name, cards in begins.items():
        rows = [done(n, due[name], id=new_job_id(1.9e9 + due[name] + 0.2)) for n in range(len(cards))]
        clips += [
            Clip(card, 1.9e9 + at, 1.9e9 + at + 2.0, {}, row.id) for row, (card, at) in zip(rows, cards, strict=True)
        ]
        runs[name] = Recorded({}, rows)
    found = probed(*runs.values(), clips, expected_s=6.4)
    assert (found.intake_s, found.slowness, found.gap_s) == pytest.approx((0.5, 1.25, 0.25), abs=1e-4)
    # Each of the three had two others beside it, and took 12 s where one alone takes 6.
    assert (found.start_s, found.start_beside_s) == pytest.approx((5.0, 3.0), abs=1e-4)


def test_fifteen_percent_is_of_what_was_measured() -> None:
    assert Compared("p50", 10.0, 11.5, 0.0, 0.0).kept
    assert not Compared("p50", 10.0, 8.4, 0.0, 0.0).kept
    assert not Compared("p50", 0.0, 1.0, 0.0, 0.0).kept


def test_processor_time_is_told_of_server_and_load_generator_apart() -> None:
    spent = Spent(served=5.0, generated=1.0) - Spent(served=3.0, generated=0.5)
    assert spent.each_ms(100) == (20.0, 5.0)
    assert (spent + spent).each_ms(100) == (40.0, 10.0)
