"""The interfaces of the standard library over the engines of ferrule: change the import and nothing else.

`ferrule.dropin.queue` and `ferrule.dropin.asyncio` have the names of `queue` and of `asyncio`'s queues.
"""
