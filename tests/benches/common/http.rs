//! As much of HTTP/1.1 as an endpoint needs.

/// Where the first request ends, once its headers are there.
pub fn end_of_request(buffer: &[u8]) -> Option<usize> {
    let head_end = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..head_end]).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    Some(head_end + length.unwrap_or(0))
}
