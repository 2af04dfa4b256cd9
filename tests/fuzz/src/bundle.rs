//! Sigstore bundles. Those that count are the ones in the corpus, by keys whose private halves are nowhere.

use rocketos_trust::Signature;

use crate::signing;

pub(crate) fn fuzz(bytes: &[u8]) {
    let [anywhere, here] = signing::accepted(&Signature::bundle("here", bytes.to_vec()));
    // A bundle has no name in it.
    assert!(!here);
    if anywhere {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("application/vnd.dev.sigstore.bundle.v0.3+json"));
    }
}
