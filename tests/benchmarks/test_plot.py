"""The benchmarks' drawings."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.plot import Series, line_chart

SVG = "{http://www.w3.org/2000/svg}"
LABELS = ("1 M events", "5 M events")


def test_a_chart_has_a_dot_for_each_point_and_a_name_for_each_line() -> None:
    """A gap has no dot. Names are text, whatever they contain."""
    lines = [
        Series(name="ingest <fast>", points=((0.9, 1.0, 1.1), (0.8, 0.9, 1.0))),
        Series(name="memory", points=((0.5, 0.5, 0.5), None)),
    ]
    chart = ElementTree.fromstring(line_chart("Growth", LABELS, lines, goal=0.95))
    assert len(chart.findall(f"{SVG}circle[@r='3']")) == 3
    words = [text.text for text in chart.iter(f"{SVG}text")]
    assert {"Growth", "1 M events", "5 M events", "ingest <fast>", "memory", "goal 0.95"} <= set(words)


def test_the_axis_begins_at_zero_and_holds_the_highest_value() -> None:
    """Round steps: a chart up to 1.1 is drawn up to 1.2."""
    lines = [Series(name="ingest", points=((1.1, 1.1, 1.1), (1.0, 1.0, 1.0)))]
    chart = ElementTree.fromstring(line_chart("Growth", LABELS, lines))
    words = [text.text for text in chart.iter(f"{SVG}text")]
    assert [word for word in words if word in ("0", "0.2", "1", "1.2", "1.4")] == ["0", "0.2", "1", "1.2"]


def test_a_chart_is_small() -> None:
    """It is kept in the repository."""
    lines = [Series(name=f"line {number}", points=((1, 2, 3),) * 2) for number in range(4)]
    assert len(line_chart("Growth", LABELS, lines)) < 10_000
