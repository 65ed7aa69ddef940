"""The report in the terminal."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from cuelight.exporters.reports.headline import heading, verdict
from cuelight.exporters.reports.page import facts
from cuelight.exporters.reports.report import Report
from cuelight.exporters.reports.tables import Table, tables

__all__ = ["print_report", "print_table"]


def print_report(report: Report, console: Console) -> None:
    """Print the same facts and tables that the page has."""
    name, version = heading(report)
    text, passed = verdict(report)
    colour = "green" if passed else "red"
    console.print(f"[bold]{escape(name)}[/], {version}: [{colour}]{text}[/]\n")
    for name, text in facts(report):
        console.print(f"{name:<12}{escape(text)}", highlight=False)
    for table in (table for table in tables(report) if not table.long):
        print_table(table, console)


def print_table(table: Table, console: Console) -> None:
    """Print one table with its title and text."""
    console.print(f"\n[bold]{escape(table.title)}[/]\n{escape(table.text)}", highlight=False)
    if table.rows:
        console.print(_rich(table))


def _rich(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(table.columns):
        number = index in table.numbers
        # Of a narrow terminal, sizes and words give way; names of models and numbers are of no use in pieces.
        shown.add_column(
            column, justify="right" if number else "left", overflow="fold", no_wrap=number or column in ("at", "model")
        )
    for row in table.rows:
        shown.add_row(*map(escape, row))
    return shown
