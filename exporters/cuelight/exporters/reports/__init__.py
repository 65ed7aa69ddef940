"""What an export tells of itself beside the model: `report.json` for programs, a page and the terminal for people.

parity, graph, golden vectors, speed, CUDA coverage -> report (plain data) -> JSON, page, terminal
all reports of a repository -> reports.html, tables of models
"""

__all__: list[str] = []
