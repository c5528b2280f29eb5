"""Requests as they go over the wire to a key-value server, and what it answers to them."""

__all__ = ["ANSWERED", "SENT", "bulk"]


def bulk(*words: bytes) -> bytes:
    """One request of these words."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


SENT = (
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$7\r\nva\r\nlue\r\n*2\r\n$3\r\nget\r\n$3\r\nkey\r\n*0\r\n"
    b"\r\nset \"other key\" ''\r\n*3\r\n$4\r\nMGET\r\n$9\r\nother key\r\n$1\r\nx\r\n*1\r\n$4\r\nNONE\r\n"
    b"*-1\r\nPING there\r\n"
)
ANSWERED = (
    b"+OK\r\n$7\r\nva\r\nlue\r\n+OK\r\n*2\r\n$0\r\n\r\n$-1\r\n"
    b"-ERR unknown command 'NONE', with args beginning with: \r\n$5\r\nthere\r\n"
)
