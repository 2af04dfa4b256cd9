//! Frames: what a program in a host container, or who started it, says over a connection.

use rocketos_api::frames::{FRAME_BYTES, Frame};
use tokio::runtime::Runtime;

use crate::scratch;

/// Bytes before a frame's own.
const HEAD: usize = 5;

thread_local! {
    static RUNTIME: Runtime = scratch::runtime();
}

pub(crate) fn fuzz(bytes: &[u8]) {
    RUNTIME.with(|runtime| runtime.block_on(read(bytes)));
}

async fn read(mut from: &[u8]) {
    loop {
        let before = from;
        let Ok(Some(frame)) = Frame::read(&mut from).await else { return };
        let said = &before[..before.len() - from.len()];
        assert!(said.len() <= FRAME_BYTES + HEAD);
        let mut written = Vec::new();
        frame.write(&mut written).await.expect("memory takes a frame");
        match frame {
            // Of a problem the words that a person reads are written, and they are one.
            Frame::Failed(_) => {
                assert!(written.len() <= FRAME_BYTES + HEAD, "{}", written.len());
                let again = Frame::read(&mut written.as_slice()).await;
                assert!(matches!(again, Ok(Some(Frame::Failed(_)))), "{again:?}");
            }
            _ => assert_eq!(written, said),
        }
    }
}
