/// The first request among the bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// It has this many bytes.
    Whole(usize),
    /// More has to come.
    Partial,
    /// Not HTTP/1.1.
    Broken,
}

/// Finds the end of the first request (RFC 9112 6).
pub(super) fn first_message(bytes: &[u8]) -> Message {
    // A TLS handshake has no empty line to wait for.
    if bytes.first().is_some_and(|first| !first.is_ascii_alphabetic()) {
        return Message::Broken;
    }
    let Some(head) = head_length(bytes) else { return Message::Partial };
    if header(&bytes[..head], "transfer-encoding").is_some_and(|value| has_token(&value, "chunked")) {
        return chunks(bytes, head);
    }
    let length = header(&bytes[..head], "content-length").map_or(Ok(0), |length| length.parse::<usize>());
    match length.ok().and_then(|length| head.checked_add(length)) {
        Some(end) if end <= bytes.len() => Message::Whole(end),
        Some(_) => Message::Partial,
        None => Message::Broken,
    }
}

/// The length of the head with the empty line that ends it.
pub(super) fn head_length(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The first value of a header.
pub(super) fn header(head: &[u8], name: &str) -> Option<String> {
    headers(head).find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

pub(super) fn headers(head: &[u8]) -> impl Iterator<Item = (String, String)> {
    let head = String::from_utf8_lossy(head);
    let lines: Vec<_> = head
        .split("\r\n")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    lines.into_iter()
}

/// Whether a list of tokens, separated by commas, contains this token.
pub(super) fn has_token(list: &str, token: &str) -> bool {
    list.split(',').any(|given| given.trim().eq_ignore_ascii_case(token))
}

pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Walks over the chunks that start here, and the trailers after the last one (RFC 9112 7.1).
fn chunks(bytes: &[u8], mut at: usize) -> Message {
    loop {
        let Some(line) = bytes.get(at..).and_then(|rest| find(rest, b"\r\n")) else {
            return Message::Partial;
        };
        let size = String::from_utf8_lossy(&bytes[at..at + line]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let next = at + line + 2;
        match size {
            Ok(0) => return trailers(bytes, next),
            Ok(size) => match size.checked_add(next + 2) {
                Some(end) => at = end,
                None => return Message::Broken,
            },
            Err(_) => return Message::Broken,
        }
    }
}

fn trailers(bytes: &[u8], mut at: usize) -> Message {
    loop {
        match bytes.get(at..).and_then(|rest| find(rest, b"\r\n")) {
            Some(0) => return Message::Whole(at + 2),
            Some(line) => at += line + 2,
            None => return Message::Partial,
        }
    }
}
