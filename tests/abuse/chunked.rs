//! Chunked bodies, good ones and all the others.

use crate::pairs::{EITHER, REFUSED, Row, TAKEN, check, row};

const HEAD: &str = "GET @1 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunks(name: &'static str, body: &str, allowed: &'static [&'static [u16]]) -> Row {
    row(name, format!("{HEAD}{body}"), allowed)
}

#[test]
fn good_ones_are_taken_and_end_where_they_end() {
    let many = "1\r\na\r\n".repeat(2_000);
    let rows = [
        chunks("one", "5\r\nhello\r\n0\r\n\r\n", TAKEN),
        chunks("none", "0\r\n\r\n", TAKEN),
        chunks("several", "5\r\nhello\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", TAKEN),
        chunks("2,000 of a byte", &format!("{many}0\r\n\r\n"), EITHER),
        chunks("zeros in front", "00005\r\nhello\r\n000\r\n\r\n", TAKEN),
        chunks("an extension", "5;a=b\r\nhello\r\n0;c\r\n\r\n", TAKEN),
        chunks("a quoted extension", "5;a=\"b c\"\r\nhello\r\n0\r\n\r\n", TAKEN),
        chunks("a trailer", "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", TAKEN),
        chunks("a trailer of another length", "0\r\nContent-Length: 50\r\n\r\n", EITHER),
        chunks("a trailer of another coding", "0\r\nTransfer-Encoding: chunked\r\n\r\n", EITHER),
        chunks(
            "a request inside",
            "1e\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n\r\n0\r\n\r\n",
            TAKEN,
        ),
        chunks("an end inside", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", TAKEN),
    ];
    check("good chunks", &rows);
}

#[test]
fn bad_ones_are_refused() {
    const OR_LARGE: &[&[u16]] = &[&[400], &[413]];
    // So much is sent on that it may wipe out the refusal.
    const OR_CUT: &[&[u16]] = &[&[400], &[413], &[431], &[]];
    const LATE: &[&[u16]] = &[&[408]];
    let long = "a".repeat(1 << 20);
    let request = "GET @3 HTTP/1.1\r\nHost: test\r\n\r\n";
    let rows = [
        chunks("no hex", "g\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("hex and not", "5g\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("0x", "0x5\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("plus", "+5\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("minus", "-5\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("minus 0", "-0\r\n\r\n", REFUSED),
        chunks("no size", "\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("an extension for a size", ";a=b\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("a space in front", " 5\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("a space behind", "5 \r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("a tab behind", "5\t\r\nhello\r\n0\r\n\r\n", EITHER),
        chunks("a space inside", "1 0\r\n0123456789abcdef\r\n0\r\n\r\n", REFUSED),
        chunks("an underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", REFUSED),
        chunks("other digits", "\u{665}\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("NUL in a size", "5\0\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("a comma", "5,5\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("a float", "5.0\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("LF behind the size", "5\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("CR behind the size", "5\rhello\r\n0\r\n\r\n", REFUSED),
        chunks("LF behind the chunk", "5\r\nhello\n0\r\n\r\n", REFUSED),
        chunks("CR behind the chunk", "5\r\nhello\r0\r\n\r\n", REFUSED),
        chunks("nothing behind the chunk", "5\r\nhello0\r\n\r\n", REFUSED),
        chunks("LF alone", "5\nhello\n0\n\n", REFUSED),
        chunks("LF at the end", "5\r\nhello\r\n0\r\n\n", REFUSED),
        chunks("LF behind the last", "5\r\nhello\r\n0\n\r\n", REFUSED),
        chunks("LF in an extension", "5;a\n=b\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("CR in an extension", "5;a\r=b\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("too short a size", "4\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("too long a size", "6\r\nhello\r\n0\r\n\r\n", REFUSED),
        chunks("no last chunk", "5\r\nhello\r\n", REFUSED),
        chunks("no end of the last", "5\r\nhello\r\n0\r\n", REFUSED),
        chunks("a size past 2^64", "10000000000000005\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size of 2^64 - 1", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size of 2^63", "8000000000000000\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size of 2^62", "4000000000000000\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size past 2^32", "100000005\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size of 2^31", "80000000\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks("a size past the bound", "500001\r\nhello\r\n0\r\n\r\n", OR_LARGE),
        chunks(
            "sizes past 2^64 in all",
            "5\r\nhello\r\nfffffffffffffffb\r\nhello\r\n0\r\n\r\n",
            OR_LARGE,
        ),
        chunks(
            "a size of a thousand zeros",
            &format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(1_000)),
            EITHER,
        ),
        chunks("zeros without end", &"0".repeat(1 << 20), OR_CUT),
        chunks("an extension without end", &format!("5;{long}"), OR_CUT),
        chunks("extensions without end", &format!("5{}", ";a=b".repeat(1 << 18)), OR_CUT),
        chunks("a trailer without end", &format!("0\r\nX: {long}"), OR_CUT),
        chunks("trailers without end", &format!("0\r\n{}", "X: y\r\n".repeat(1 << 17)), OR_CUT),
        chunks("a trailer without a colon", "0\r\nno colon\r\n\r\n", REFUSED),
        chunks("a trailer with a space", "0\r\nX : y\r\n\r\n", EITHER),
        chunks("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", REFUSED),
        chunks("a bare LF in a trailer", "0\r\nX: y\nZ: z\r\n\r\n", REFUSED),
        chunks("NUL in a trailer", "0\r\nX: \0\r\n\r\n", REFUSED),
        chunks("a request in place of the chunks", request, REFUSED),
        chunks("a request in place of a trailer", &format!("0\r\n{request}"), REFUSED),
        chunks("a request too early", &format!("5\r\nhello{request}"), REFUSED),
        chunks("as much as is left to come", "4000\r\nhello", LATE),
    ];
    check("bad chunks", &rows);
}
