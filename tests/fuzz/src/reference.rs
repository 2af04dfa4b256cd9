//! Image references, and what tells a deployment or a digest by its text.

use rocketos_model::{
    BlobDigest, ComposefsDigest, DeploymentId, DiffId, ImageReference, ManifestDigest, ObjectId, reference,
};

pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<ImageReference>() {
        assert!(text.len() <= reference::MAX_LEN);
        let again: ImageReference = reference.to_string().parse().expect("what was written is read");
        assert_eq!(again, reference);
    }
    macro_rules! same {
        ($($digest:ty),*) => {
            $(if let Ok(digest) = text.parse::<$digest>() {
                assert_eq!(digest.to_string(), text);
            })*
        };
    }
    same!(BlobDigest, ComposefsDigest, DeploymentId, DiffId, ManifestDigest, ObjectId);
}
