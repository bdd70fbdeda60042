"""The report as one self-contained page: the table, quality over time by policy, and each policy's cycles."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from noria.cli.demo.scenes import playing

_COLOURS = {"never": "#8a8f98", "monthly": "#c98500", "weekly": "#2f6fde", "drift": "#b04fc4", "noria": "#0a9b6c"}
_MARKS = {
    "promoted": "#0a9b6c",
    "rejected": "#d9480f",
    "failed": "#c1121f",
    "quarantined": "#c98500",
    "skipped": "#8a8f98",
}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 960, 280, 52, 26, 12, 84
_LANE = 30

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667080; --line: #d9dde3; --paper: #ffffff; --band: #f4f6f8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebef; --soft: #9aa4b2; --line: #333a44; --paper: #14171b; --band: #1d2127 } }
body { margin: 0 auto; max-width: 1040px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 40px 0 8px } h3 { font-size: 15px; margin: 20px 0 2px } p { max-width: 75ch; margin: 6px 0 }
.soft { color: var(--soft) } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; color: var(--soft) } th:first-child, td:first-child { text-align: left }
td.words { white-space: normal } th.words, td.words { text-align: left } tr.ours td { font-weight: 600; background: var(--band) }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 8px }
svg { width: 100%; height: auto; display: block } svg text { fill: var(--soft); font: 12px system-ui, sans-serif }
svg .grid { stroke: var(--line); stroke-width: 1 } .scroll { overflow-x: auto }
"""


def render(report: Mapping[str, Any]) -> str:
    """Return the page for a finished replay's report."""
    policies: Mapping[str, Any] = report["policies"]
    body = "".join(
        (
            "<h1>Five retraining policies on the flights of 2013</h1>",
            _scored(report),
            f"<p>{escape(report['sentence'])}</p>",
            _table(policies),
            _differences(report["differences"]),
            _plot("AUC by week (higher is better)", policies, "auc"),
            _plot("Log loss by week (lower is better)", policies, "log_loss"),
            _lanes(policies),
            _scenes(report.get("scenes", {})),
            _decisions(policies.get("noria", {}).get("cycles", [])),
        ),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Noria: flights of 2013</title><style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )


def _scored(report: Mapping[str, Any]) -> str:
    begins, ends = (escape(day[:10]) for day in report["scored"])
    took = f"replayed in {report['seconds']:.0f} s on a simulated clock"
    return f'<p class="soft">Scored {begins} to {ends}, weekly means on true labels; {took}.</p>'


def _table(policies: Mapping[str, Any]) -> str:
    head = (
        "policy",
        "AUC",
        "95% interval",
        "log loss",
        "95% interval",
        "trainings",
        "promoted",
        "refused",
        "training CPU s",
    )
    rows = (
        f'<tr class="{"ours" if name == "noria" else ""}"><td>{_key(name)}{escape(name)}</td><td>{row["auc"]:.4f}</td>'
        f"<td>{_interval(row['auc_interval'])}</td><td>{row['log_loss']:.4f}</td><td>{_interval(row['log_loss_interval'])}</td>"
        f"<td>{row['trainings']}</td><td>{row['promotions']}</td><td>{row['refusals']}</td><td>{row['cpu_seconds']:.1f}</td></tr>"
        for name, row in policies.items()
    )
    return _wrapped(head, rows)


def _differences(differences: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><td>{escape(pair)}</td>"
        + "".join(
            f"<td>{told[m]['difference']:+.4f}</td><td>{_interval(told[m]['interval'])}</td>"
            for m in ("auc", "log_loss")
        )
        + "</tr>"
        for pair, told in differences.items()
    )
    head = ("paired by week", "AUC", "95% interval", "log loss", "95% interval")
    return "<h2>Differences between policies</h2>" + _wrapped(head, rows)


def _wrapped(head: Sequence[str], rows: Iterable[str], *, words: Collection[str] = ()) -> str:
    """Return a table; the columns of `words` are text, whose titles stand above its beginning."""
    titles = "".join(f"<th{' class=words' if title in words else ''}>{escape(title)}</th>" for title in head)
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _plot(title: str, policies: Mapping[str, Any], metric: str) -> str:
    weeks = [
        (datetime.fromisoformat(week["begins"]), week[metric], name)
        for name, row in policies.items()
        for week in row["weeks"]
    ]
    if not weeks:
        return ""
    begins, ends = min(week[0] for week in weeks), max(week[0] for week in weeks)
    low, high = min(week[1] for week in weeks), max(week[1] for week in weeks)

    def place(moment: datetime, value: float) -> tuple[float, float]:
        across = (moment - begins) / (ends - begins) if ends > begins else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _TOP + (1 - up) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        _level(low + (high - low) * share / 4, place(begins, low + (high - low) * share / 4)[1]) for share in range(5)
    ]
    parts += [_month(moment, place(moment, low)[0], _HEIGHT) for moment in _months(begins, ends)]
    lasts: list[tuple[float, str]] = []
    for name, row in policies.items():
        points = [place(datetime.fromisoformat(week["begins"]), week[metric]) for week in row["weeks"]]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        wide = 2.4 if name == "noria" else 1.4
        parts.append(
            f'<polyline points="{drawn}" fill="none" stroke="{_colour(name)}" stroke-width="{wide}" stroke-linejoin="round"/>'
        )
        lasts.append((points[-1][1], name))
    parts += _names(lasts)
    return f'<h2>{escape(title)}</h2><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def _names(lasts: Sequence[tuple[float, str]]) -> list[str]:
    """Write each policy's name at the end of its line, moved apart where lines end close together."""
    written: list[str] = []
    lowest = float("-inf")
    for height, name in sorted(lasts):
        lowest = max(height, lowest + 14)
        x = _WIDTH - _RIGHT + 8
        written.append(
            f'<text x="{x}" y="{lowest + 4:.1f}" style="fill:{_colour(name)};font-weight:600">{escape(name)}</text>'
        )
    return written


def _lanes(policies: Mapping[str, Any]) -> str:
    moments = [datetime.fromisoformat(cycle["opened"]) for row in policies.values() for cycle in row["cycles"]]
    if not moments:
        return ""
    begins, ends, height = min(moments), max(moments), _LANE * len(policies) + _BOTTOM
    span = (ends - begins).total_seconds() or 1.0

    def across(moment: datetime) -> float:
        return _LEFT + 24 + (moment - begins).total_seconds() / span * (_WIDTH - _LEFT - 40)

    parts = [_month(moment, across(moment), height) for moment in _months(begins, ends)]
    for lane, (name, row) in enumerate(policies.items()):
        middle = lane * _LANE + _LANE / 2
        parts.append(f'<line class="grid" x1="{_LEFT + 16}" x2="{_WIDTH}" y1="{middle}" y2="{middle}"/>')
        parts.append(f'<text x="0" y="{middle + 4}" style="fill:{_colour(name)};font-weight:600">{escape(name)}</text>')
        for cycle in row["cycles"]:
            words = f"cycle {cycle['number']}, {cycle['outcome']}: {cycle['why']}"
            mark = _MARKS.get(cycle["outcome"], "#8a8f98")
            x = across(datetime.fromisoformat(cycle["opened"]))
            parts.append(
                f'<circle cx="{x:.1f}" cy="{middle}" r="5" fill="{mark}"><title>{escape(words)}</title></circle>'
            )
    legend = " ".join(
        f'<span class="key" style="background:{colour}"></span>{name} &nbsp;' for name, colour in _MARKS.items()
    )
    picture = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="cycles over time">{"".join(parts)}</svg>'
    return f'<h2>Cycles</h2><p class="soft">{legend}</p>{picture}'


def _scenes(scenes: Mapping[str, Any]) -> str:
    """Tell each scene in which something went wrong on purpose, in its sentence."""
    told = "".join(
        f"<h3>{escape(playing.TITLES[name])}</h3><p>{escape(playing.sentence(name, scene))}</p>"
        for name, scene in scenes.items()
    )
    return f"<h2>Three scenes that go wrong on purpose</h2>{told}" if told else ""


def _decisions(cycles: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        f"<tr><td>{cycle['number']}</td><td>{escape(cycle['opened'][:10])}</td><td class=words>{escape(str(cycle['outcome']))}</td>"
        f'<td class="words">{escape(cycle["why"])}</td><td class="words">{escape(cycle["words"])}</td></tr>'
        for cycle in cycles
    )
    head, words = ("cycle", "opened", "outcome", "triggered by", "reasons"), ("outcome", "triggered by", "reasons")
    return "<h2>What the loop decided, and why</h2>" + _wrapped(head, rows, words=words)


def _level(value: float, height: float) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{value:.2f}</text>'
    )


def _month(moment: datetime, x: float, height: float) -> str:
    return f'<text x="{x:.1f}" y="{height - 6}">{moment:%b}</text>'


def _months(begins: datetime, ends: datetime) -> list[datetime]:
    first = begins.replace(day=1, hour=0, minute=0)
    months = [
        first.replace(year=first.year + (first.month - 1 + n) // 12, month=(first.month - 1 + n) % 12 + 1)
        for n in range(24)
    ]
    return [month for month in months if begins <= month <= ends]


def _key(name: str) -> str:
    return f'<span class="key" style="background:{_colour(name)}"></span>'


def _colour(name: str) -> str:
    return _COLOURS.get(name, "#667080")


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"
