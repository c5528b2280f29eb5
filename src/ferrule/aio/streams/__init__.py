"""Streams for asyncio's and uvloop's loops that read each byte into the memory from which it is handed out.

`open_connection()`, `start_server()`, StreamReader and StreamWriter are asyncio's, call for call; what they read are
Bytes: views of the memory into which the transport has read. Framed makes frames of them, by a codec. BytesProtocol is
the floor under both, for protocols that are called back.

Where the bytes are: the transport reads into the `spare()` room of a BytesMut, `commit()` takes in what has come, and
`get_bytes()` gives a part away as a Bytes. A block of memory is used again once nobody has a part of it; else the next
read gets a new one. How much room a read gets follows from what the last ones have filled, as in Netty's
AdaptiveRecvByteBufAllocator.
"""

from ._codecs import Codec, FrameTooLarge, JsonLinesCodec, LengthDelimitedCodec, LinesCodec
from ._connection import StreamReader, StreamWriter, open_connection, start_server
from ._framed import Framed
from ._intake import BytesProtocol

__all__ = [
    "BytesProtocol",
    "Codec",
    "FrameTooLarge",
    "Framed",
    "JsonLinesCodec",
    "LengthDelimitedCodec",
    "LinesCodec",
    "StreamReader",
    "StreamWriter",
    "open_connection",
    "start_server",
]
