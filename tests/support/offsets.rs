//! Where a Kafka topic ends: for those who read what is committed only, and for those who read all.
//!
//! Two `ListOffsets` requests, spoken directly: between the two ends lies what a transaction has written and not committed. That is
//! how a test sees that somebody stopped in the middle of one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// `ListOffsets`, in the last version with fields of fixed size.
const LIST_OFFSETS: [i16; 2] = [2, 2];

/// The end of each lane of a topic: of what is committed, and of all.
pub(crate) fn ends(broker: &str, topic: &str, lanes: u16) -> Vec<(i64, i64)> {
    let mut socket = TcpStream::connect(broker).unwrap();
    let [all, committed] = [0, 1].map(|isolation| list(&mut socket, topic, lanes, isolation));
    committed.into_iter().zip(all).collect()
}

fn list(socket: &mut TcpStream, topic: &str, lanes: u16, isolation: u8) -> Vec<i64> {
    let mut request = Vec::new();
    LIST_OFFSETS.iter().for_each(|number| request.extend(number.to_be_bytes()));
    // The correlation, no client id, an ordinary consumer.
    request.extend([&1_i32.to_be_bytes()[..], &(-1_i16).to_be_bytes(), &(-1_i32).to_be_bytes(), &[isolation]].concat());
    request.extend(1_i32.to_be_bytes());
    request.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend(i32::from(lanes).to_be_bytes());
    for lane in 0..lanes {
        request.extend(i32::from(lane).to_be_bytes());
        // The end.
        request.extend((-1_i64).to_be_bytes());
    }
    socket.write_all(&i32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    socket.write_all(&request).unwrap();
    let mut size = [0; 4];
    socket.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).unwrap()];
    socket.read_exact(&mut answer).unwrap();
    // Correlation, throttle, one topic and its name, and how many lanes; then 22 bytes each: lane, error, time, offset.
    let (_, lists) = answer.split_at(4 + 4 + 4 + 2 + topic.len() + 4);
    let mut found: Vec<(i32, i64)> = lists
        .chunks_exact(22)
        .map(|one| {
            assert_eq!(one[4..6], [0, 0], "{topic}: {one:?}");
            (i32::from_be_bytes(one[..4].try_into().unwrap()), i64::from_be_bytes(one[14..].try_into().unwrap()))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, offset)| offset).collect()
}
