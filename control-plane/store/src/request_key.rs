//! The id of a request as few bytes.
//!
//! Rule: an id that is a UUID as we write it is its 16 bytes, any other is its text behind a byte that begins no text. What
//! is written is read back as it was, and two ids are never the same bytes.

use crate::error::{Result, StoreError};
use crate::usage_row::RECORDS;
use uuid::Uuid;

/// Begins an id that is text: no UTF-8 does.
const TEXT: u8 = 0xff;

/// The bytes of an id.
pub(crate) fn request_key(id: &str) -> Vec<u8> {
    match Uuid::try_parse(id) {
        // only the one spelling that comes back; and none that would look like a text
        Ok(uuid) if uuid.as_bytes().first() != Some(&TEXT) && uuid.hyphenated().to_string() == id => {
            uuid.as_bytes().to_vec()
        }
        _ => [TEXT].into_iter().chain(id.bytes()).collect(),
    }
}

/// The id of bytes.
///
/// # Errors
/// [`StoreError::Corrupt`] for bytes that are no id.
pub(crate) fn request_text(key: &[u8]) -> Result<String> {
    let bad = || StoreError::corrupt(format!("request_id of {RECORDS}"), "its bytes are no id");
    match key.split_first() {
        Some((&TEXT, text)) => String::from_utf8(text.to_vec()).map_err(|_| bad()),
        _ => Uuid::from_slice(key).map(|uuid| uuid.hyphenated().to_string()).map_err(|_| bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_of_ours_is_sixteen_bytes() {
        assert_eq!(request_key("0193a5c2-7d11-7c3b-9a53-0123456789ab").len(), 16);
        assert_eq!(request_key("0193A5C2-7d11-7c3b-9a53-0123456789ab").len(), 37);
        assert_eq!(request_key("ffffffff-ffff-ffff-ffff-ffffffffffff").len(), 37);
        assert!(request_text(b"short").is_err());
    }

    proptest! {
        #[test]
        fn every_id_comes_back(id in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|.{0,40}|[0-9a-f]{15}") {
            prop_assert_eq!(request_text(&request_key(&id)).unwrap(), id);
        }
    }
}
