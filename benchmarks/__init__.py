"""ferrule beside its peers: `peers` are the contenders, `scenarios` the work, `scaling` and `report` measure and show.

python -m pytest benchmarks       tables in the terminal, all contenders in one process
python -m benchmarks.scaling      threads x contenders, each in a fresh process
python -m benchmarks.report       the same for every scenario, into results/ and docs/benchmarks.md
"""
