"""An invoice is read as its mapping says, or refused whole with all its mistakes: file, line, column, value, remedy."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.bucket import open_bucket
from wan_pipeline.money import Money
from wan_pipeline.problems import ProblemsError
from wan_pipeline.reconciliation.csv_reading import MAX_SHOWN, read_lines
from wan_pipeline.reconciliation.invoices import Invoices, mapping_places, read_invoices
from wan_pipeline.reconciliation.mapping import read_mapping
from wan_pipeline.reports.period import Period
from wan_pipeline.spend.audit_records import LineKind

PLAIN = "provider: shortapi\ncolumns: {line_id: Id, reference: Task, amount: Cost, date: Created}\n"
TITLES = "Id,Task,Cost,Created\n"
ROW = "a-1,task-1,0.425,2026-11-20T23:59:59Z\n"
AT = datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC)


def mapping(text: str = PLAIN):
    return read_mapping("invoices/mapping.yaml", text.encode())


def read(rows: str, text: str = PLAIN):
    return read_lines("invoices/x.csv", rows.encode(), mapping(text))


def refused(rows: str | bytes, text: str = PLAIN) -> list[str]:
    with pytest.raises(ProblemsError) as error:
        read_lines("invoices/x.csv", rows if isinstance(rows, bytes) else rows.encode(), mapping(text))
    return [str(problem) for problem in error.value.problems]


def wrong(text: str) -> list[str]:
    with pytest.raises(ProblemsError) as error:
        mapping(text)
    return [str(problem) for problem in error.value.problems]


# --- reading ---


def test_a_plain_invoice() -> None:
    (line,) = read(TITLES + ROW)
    assert (line.line_id, line.reference, line.amount, line.at) == ("a-1", "task-1", Money.usd("0.425"), AT)
    assert (line.kind, line.until, line.place) == (LineKind.CHARGE, None, "invoices/x.csv, line 2")


def test_a_byte_order_mark_is_no_part_of_the_first_title() -> None:
    assert read("\ufeff" + TITLES + ROW) == read(TITLES + ROW)


def test_what_is_given_back_is_told_by_its_sign_or_by_its_kind() -> None:
    assert read(TITLES + ROW.replace("0.425", "-0.425"))[0].kind is LineKind.REFUND
    assert read(TITLES + ROW, f"{PLAIN}amounts: {{charges_are: negative}}\n")[0].kind is LineKind.REFUND
    kinds = (
        PLAIN.replace("date: Created", "date: Created, kind: Type") + "kinds: {charge: Usage, refund: [Back, Credit]}\n"
    )
    titles = "Id,Task,Cost,Created,Type\n"
    rows = [
        f"a,t,{amount},2026-11-20T00:00:00Z,{kind}\n"
        for amount, kind in (("1", "usage"), ("-1", "back"), ("1", "CREDIT"))
    ]
    lines = read(titles + "".join(rows), kinds)
    assert [line.kind.value for line in lines] == ["charge", "refund", "refund"]
    assert {line.amount for line in lines} == {Money.usd(1)}


def test_every_way_of_writing_that_a_mapping_can_name() -> None:
    text = (
        "provider: aimlapi\n"
        "columns: {reference: Référence, amount: Crédits, date: Jour, model: Modèle, currency: Devise}\n"
        'amounts: {unit: credits, usd_per_unit: "0.0000005", decimal_comma: true}\n'
        "dates: {format: '%d.%m.%Y', time_zone: Asia/Singapore}\n"
        "delimiter: ;\nencoding: windows-1252\nskip_rows: 2\nskip_last_rows: 1\n"
    )
    rows = (
        "Facture\n\nRéférence;Crédits;Jour;Modèle;Devise\n"
        '"inf\n1";1575000,0;20.11.2026;wan;usd\n\ninf-2;1;21.11.2026;;USD\nTotal;1575001;;;\n'
    )
    one, two = read_lines("invoices/x.csv", rows.encode("windows-1252"), mapping(text))
    assert (one.amount, two.amount) == (Money.usd("0.7875"), Money(500))
    assert (one.at, one.until) == (
        datetime(2026, 11, 19, 16, tzinfo=UTC),
        datetime(2026, 11, 20, 16, tzinfo=UTC),
    )
    assert (one.place, two.place) == ("invoices/x.csv, line 4", "invoices/x.csv, line 7")
    assert (one.line_id, one.model, two.model) == ("x.csv line 4", "wan", None)


@pytest.mark.parametrize(
    ("how", "text"),
    [("unix", "1795219199"), ("unix_ms", "1795219199000"), ("iso", "2026-11-21T07:59:59+08:00")],
)
def test_moments_however_they_are_written(how: str, text: str) -> None:
    (line,) = read(TITLES + ROW.replace("2026-11-20T23:59:59Z", text), f"{PLAIN}dates: {{format: {how}}}\n")
    assert line.at == AT + (timedelta() if how == "iso" else datetime.fromtimestamp(1795219199, UTC) - AT)


@given(st.integers(0, 10**18), st.booleans())
@settings(max_examples=100, deadline=None)
def test_amounts_are_exact_to_the_nano_dollar(nanos: int, comma: bool) -> None:
    text = str(Money(nanos)).replace(".", ",") if comma else str(Money(nanos))
    how = PLAIN + f"amounts: {{decimal_comma: {str(comma).lower()}}}\n"
    assert read(TITLES + ROW.replace("0.425", f'"{text}"'), how)[0].amount == Money(nanos)


# --- a file with mistakes ---


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROW.replace("0.425", "0,425"), "line 2: the line has 5 fields"),
        (ROW.replace("0.425", '"1,234.50"'), "line 2, column Cost: this is not an amount (found: 1,234.50)"),
        (ROW.replace("0.425", "$0.43"), "column Cost: this is not an amount (found: $0.43)"),
        (ROW.replace("0.425", "NaN"), "column Cost: this is not an amount (found: NaN)"),
        (ROW.replace("0.425", ""), "column Cost: this is not an amount"),
        (ROW.replace("0.425", "0.0000000001"), "column Cost: it is finer than a nano-dollar"),
        (ROW.replace("0.425", "1e99"), "column Cost: no invoice has that much"),
        (ROW.replace("0.425", "1000000000.01"), "column Cost: no invoice has that much"),
        (ROW.replace("2026-11-20T", "20/11/2026 "), "column Created: this is not a date (found: 20/11/2026 23:59:59Z)"),
        (ROW.replace("2026", "1926"), "column Created: no invoice is of that time"),
        (ROW.replace("a-1", '"a-1'), "this is not CSV"),
        ("", ""),
    ],
)
def test_a_mistake_in_a_row_is_told_with_its_line_and_column(rows: str, said: str) -> None:
    if not rows:
        assert read(TITLES) == []
        return
    (text,) = refused(TITLES + rows)
    assert text.startswith("invoices/x.csv: line 2")
    assert said in text


def test_a_number_of_seconds_that_is_none_is_told_at_once() -> None:
    (text,) = refused(TITLES + ROW.replace("2026-11-20T23:59:59Z", "1e99999999"), PLAIN + "dates: {format: unix}\n")
    assert "column Created: this is not a date (found: 1e99999999)" in text


def test_more_last_lines_to_skip_than_there_are_leave_none() -> None:
    assert read(TITLES + ROW * 2, PLAIN + "skip_last_rows: 3\n") == []


@pytest.mark.parametrize(("encoding", "data"), [("punycode", b"a:b"), ("unicode_escape", b"Id,Task\n\\ud800")])
def test_bytes_that_are_no_text_in_whatever_encoding_are_told(encoding: str, data: bytes) -> None:
    assert any(f"this is not {encoding} text" in text for text in refused(data, PLAIN + f"encoding: {encoding}\n"))


@pytest.mark.parametrize("text", ["2026-11-20", "20261120", "2026-W47-5"])
def test_a_date_without_a_time_is_a_whole_day_however_it_is_written(text: str) -> None:
    (line,) = read(TITLES + ROW.replace("2026-11-20T23:59:59Z", text))
    assert (line.at, line.until) == (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))


def test_all_mistakes_are_counted_and_the_first_twenty_shown() -> None:
    problems = refused(TITLES + ROW + ROW.replace("0.425", "x") * 33)
    assert len(problems) == MAX_SHOWN + 1
    assert "line 3, column Cost" in problems[0]
    assert "there are 33 mistakes in all" in problems[-1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file has no line of titles"),
        (
            b"Id,Task,Costs,Created\n",
            "no column has this title, which the mapping's columns.amount names (found: Cost)",
        ),
        (b"Id,Task,Cost,Cost,Created\n", "two columns have this title"),
        (b"Id,Task,Cost,Created\nx\xff\xfe", "line 2: this is not utf-8 text (found: bytes ff fe)"),
        (b"\x89PNG\r\n\x1a\n", "line 1: this is not utf-8 text"),
        (b"Id,Task,Cost,Created\n\x00\x00", "line 2: a NUL character stands here"),
    ],
)
def test_a_file_that_is_none_says_what_it_is(data: bytes, said: str) -> None:
    assert any(said in text for text in refused(data))


def test_a_kind_that_the_mapping_does_not_know_and_a_currency_that_is_not_ours() -> None:
    text = PLAIN.replace("date: Created", "date: Created, kind: Type, currency: In") + "kinds: {charge: usage}\n"
    rows = "Id,Task,Cost,Created,Type,In\na,t,1,2026-11-20,fee,EUR\nb,t,-1,2026-11-20,usage,USD\n"
    fee, euro, negative = refused(rows, text)
    assert "column Type: the mapping does not say what this kind means (found: fee)" in fee
    assert "column In: only US dollars are compared (found: EUR)" in euro
    assert "line 3, column Cost: a charge of less than nothing (found: -1)" in negative


# --- a mapping with mistakes ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("provder: shortapi\n", "line 1, provder: there is no such setting (found: provder). Did you mean provider?"),
        (
            PLAIN.replace("line_id", "lineid"),
            "columns.lineid: there is no such setting (found: lineid). Did you mean line_id?",
        ),
        (
            PLAIN.replace("shortapi", "fal"),
            "line 1, provider: no such option (found: fal). Write one of: shortapi, aimlapi",
        ),
        ("provider: shortapi\ncolumns: {date: x}\n", "columns.amount: it is missing"),
        (PLAIN + "amounts: {unit: credits}\n", "usd_per_unit belongs to `unit: credits`"),
        (PLAIN + "amounts: {unit: credits, usd_per_unit: 0.0000005}\n", "write an amount above 0 in quotes"),
        (PLAIN + "dates: {time_zone: Mars/Olympus}\n", "there is no such time zone"),
        (PLAIN + "dates: {format: german}\n", "write iso, unix, unix_ms, or a format"),
        (PLAIN + "dates: {format: '%d.%d.%Y'}\n", "no date can be read by it"),
        (PLAIN + "dates: {format: '%d.%m.%Q'}\n", "no date can be read by it"),
        (PLAIN + "amounts: {unit: credits, usd_per_unit: '1e-99999999'}\n", "write an amount above 0 in quotes"),
        (PLAIN + "covers: {first: 2026-11-01, last: 9999-12-31}\n", "no invoice is of that time"),
        (PLAIN + "delimiter: '\"'\n", "no file is divided by that"),
        (
            PLAIN.replace("Created}", "Created, kind: Type}") + "kinds: {charge: [Usage], refund: [usage]}\n",
            "'usage' is said to mean two kinds",
        ),
        (PLAIN + "encoding: klingon\n", "there is no such encoding"),
        (PLAIN + "skip_rows: -1\n", "skip_rows"),
        (PLAIN + "skip_rows: two\n", "skip_rows"),
        (PLAIN + "delimiter: ';;'\n", "delimiter"),
        (PLAIN + "kinds: {charge: usage}\n", "columns.kind and kinds go together"),
        (PLAIN + "covers: {first: 2026-11-30, last: 2026-11-01}\n", "the last day comes before the first"),
        (PLAIN + "covers: {first: november, last: 2026-11-01}\n", "write a day as 2026-11-30"),
        ("- a\n", "names with values are expected"),
        ("provider: [\n", "this is not YAML"),
        (PLAIN + PLAIN, "this stands on line 1 already"),
    ],
)
def test_a_mistake_in_a_mapping_is_told_with_its_line(text: str, said: str) -> None:
    problems = wrong(text)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("invoices/mapping.yaml") for problem in problems)


def test_the_examples_of_the_documentation_are_mappings_one_for_each_provider() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reconciliation.md").read_text()
    examples = [
        "\n".join(line[4:] for line in lines)
        for block in text.split("\n\n")
        if (lines := block.splitlines())[0].startswith("    # invoices/")
    ]
    assert [mapping(example).provider for example in examples] == ["shortapi", "aimlapi", "wavespeed"]
    titles = "Invoice Line,Job ID,Amount (USD),Created At,Type,Model,Currency\n"
    row = "1,j,0.17,20/11/2026 08:00:00,usage,m,USD\n"
    (line,) = read(f"a,b\nc,d\n{titles}{row}Sum,,0.17,,,,", examples[0])
    assert (line.amount, line.at) == (Money.usd("0.17"), datetime(2026, 11, 20, tzinfo=UTC))


# --- in the bucket ---


def bucket(folder: Path, files: dict[str, str]) -> Invoices:
    for key, text in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_invoices(open_bucket(str(folder)))


def test_the_nearest_mapping_wins() -> None:
    assert mapping_places("invoices/shortapi/2026/usage.csv") == [
        "invoices/shortapi/2026/usage.mapping.yaml",
        "invoices/shortapi/2026/shortapi.mapping.yaml",
        "invoices/shortapi/2026/mapping.yaml",
        "invoices/shortapi/shortapi.mapping.yaml",
        "invoices/shortapi/mapping.yaml",
        "invoices/shortapi.mapping.yaml",
        "invoices/mapping.yaml",
    ]
    assert "invoices/shortapi.mapping.yaml" in mapping_places("invoices/ShortAPI-2026-11.csv")
    assert "invoices/shortapi.mapping.yaml" not in mapping_places("invoices/2026-11.csv")


def test_files_of_one_mapping_are_read_and_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    files = {"invoices/shortapi.mapping.yaml": PLAIN, "invoices/shortapi-2026-11.csv": TITLES + ROW}
    found = bucket(tmp_path, files | {"invoices/shortapi-copy.CSV": TITLES + ROW, "invoices/readme.pdf": "%PDF"})
    (one,) = found.files
    assert (one.key, one.provider, one.mapping_key) == (
        "invoices/shortapi-2026-11.csv",
        "shortapi",
        "invoices/shortapi.mapping.yaml",
    )
    assert one.days == (date(2026, 11, 1), date(2026, 11, 30))
    (note,) = found.notes
    assert "once more, byte for byte" in note


def test_the_same_bytes_for_another_month_tell_of_that_month_and_their_lines_count_once(tmp_path: Path) -> None:
    november, december = "invoices/shortapi-2026-11.csv", "invoices/shortapi-2026-12.csv"
    for rows in (ROW, ""):
        files = {november: TITLES + rows, december: TITLES + rows, "invoices/mapping.yaml": PLAIN}
        found = bucket(tmp_path, files)
        assert [file.days[0].month for file in found.files if file.days] == [11, 12]
        assert sum(len(file.lines) for file in found.files) == len(rows.splitlines())


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("2026-11-20.csv", (date(2026, 11, 20), date(2026, 11, 20))),
        ("usage_20261120.csv", (date(2026, 11, 20), date(2026, 11, 20))),
        ("2026-02/all.csv", (date(2026, 2, 1), date(2026, 2, 28))),
        ("inv-4711.csv", None),
        ("2026-02-31.csv", None),
    ],
)
def test_the_days_that_a_file_tells_of_stand_in_its_name(
    tmp_path: Path, name: str, days: tuple[date, date] | None
) -> None:
    found = bucket(tmp_path, {f"invoices/{name}": TITLES + ROW, "invoices/mapping.yaml": PLAIN})
    assert found.files[0].days == days


def test_a_file_that_is_refused_concerns_its_provider_and_its_days_alone(tmp_path: Path) -> None:
    found = bucket(
        tmp_path,
        {
            "invoices/shortapi-2026-11.csv": TITLES + "a,b,c\n",
            "invoices/shortapi.mapping.yaml": PLAIN,
            "invoices/good.csv": TITLES + ROW,
            "invoices/good.mapping.yaml": PLAIN.replace("shortapi", "wavespeed"),
            "invoices/orphan.csv": TITLES,
        },
    )
    assert [file.key for file in found.files] == ["invoices/good.csv"]
    orphan, november = sorted(found.refused, key=lambda each: each.key)
    november, orphan = (orphan, november) if orphan.key.startswith("invoices/short") else (november, orphan)
    assert november.concerns("shortapi", Period.parse("2026-11-20"))
    assert not november.concerns("shortapi", Period.parse("2026-12-01"))
    assert not november.concerns("wavespeed", Period.parse("2026-11-20"))
    assert "it has no mapping file" in str(orphan.problems[0])
    assert orphan.concerns("aimlapi", Period.parse("2026-01-01"))
