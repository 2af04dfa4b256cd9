//! Certificates in place of the image's, and the image's back.

use super::*;

const KEPT: &str = include_str!("../../../../crates/settings/golden/trusted/kept.pem");
const OFF: &str = include_str!("../../../../crates/settings/golden/trusted/off.pem");
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";
const ALONE: &str = "etc/ssl/certs/Off.pem";
const LEADS_TO: &str = "../../../usr/share/ca-certificates/Off.crt";

/// A root whose image trusts two certificates, as Debian's has them.
fn trusting(node: &Node) {
    for folder in ["etc/ssl/certs", "usr/share/ca-certificates"] {
        fs::create_dir_all(node.path(folder)).unwrap();
    }
    fs::write(node.path(BUNDLE), [KEPT, OFF].concat()).unwrap();
    fs::write(node.path("usr/share/ca-certificates/Off.crt"), OFF).unwrap();
    std::os::unix::fs::symlink(LEADS_TO, node.path(ALONE)).unwrap();
    std::os::unix::fs::symlink("Off.pem", node.path("etc/ssl/certs/01234567.0")).unwrap();
}

fn pki(name: &str, pem: &str, trusted: bool) -> Value {
    let data = openssl::base64::encode_block(pem.as_bytes());
    json!({"pki": {name: {"data": data, "trusted": trusted}}})
}

#[test]
fn what_is_switched_off_is_in_no_file_and_the_images_own_comes_back() {
    let node = Node::new();
    trusting(&node);
    let image = node.files();
    // Debian's begin at the root.
    let linked = |target: &str| node.engine().place.linked(&node.path("etc/ssl/certs"), Path::new(target)).unwrap();
    assert_eq!(linked("/usr/share/ca-certificates/Off.crt").as_deref(), Some(OFF.as_bytes()));
    assert_eq!(linked("/usr/share/ca-certificates/None.crt"), None);
    node.engine().change(&set(pki("a", OFF, false))).unwrap();
    assert_eq!((node.said(BUNDLE).as_deref(), node.said(ALONE).as_deref()), (Some(KEPT), Some("")));
    assert_eq!(node.said("etc/ssl/certs/01234567.0").as_deref(), Some(""));
    assert_eq!(node.told(), ["restart podman.service", "restart systemd-resolved.service"]);
    // What is in place by now is settings' own: it is not taken for the image's.
    node.engine().change(&set(pki("a", OFF, true))).unwrap();
    assert_eq!((node.files(), node.told().len()), (image.clone(), 2));
    assert_eq!(fs::read_link(node.path(ALONE)).unwrap(), Path::new(LEADS_TO));
    node.engine().change(&set(pki("b", KEPT, false))).unwrap();
    assert_eq!((node.said(BUNDLE).as_deref(), node.said(ALONE).as_deref()), (Some(OFF), Some(OFF)));
    node.told();
    node.engine().apply("uid 0", false).unwrap();
    assert_eq!(node.told(), [""; 0]);
    node.engine().change(&unset(&["pki"])).unwrap();
    assert_eq!(node.files(), image);
}

#[test]
fn certificates_of_the_image_that_cannot_be_read_leave_pki_out_and_the_rest_is_there() {
    let node = Node::new();
    trusting(&node);
    let change = pki("a", OFF, false);
    node.engine().change(&set(json!({"motd": "a", "pki": change["pki"]}))).unwrap();
    let broken = [KEPT, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].concat();
    fs::remove_dir_all(node.path("etc")).unwrap();
    fs::remove_dir_all(node.path("run")).unwrap();
    fs::create_dir_all(node.path("etc/ssl/certs")).unwrap();
    fs::write(node.path(BUNDLE), &broken).unwrap();
    node.engine().boot(|_| Vec::new()).unwrap();
    assert_eq!((node.said(BUNDLE), node.said("etc/motd").as_deref()), (Some(broken), Some("a\n")));
    let receipt = node.engine().boot_receipt().unwrap();
    let because = receipt["because"][0].as_str().unwrap();
    assert!(because.starts_with("pki is left out: ") && because.contains(&format!("/{BUNDLE}")), "{because}");
    assert_eq!(receipt["outcome"], "failed");
    let error = node.engine().change(&set(json!({"motd": "b"}))).unwrap_err();
    assert!(error.to_string().contains("certificates") && error.kind() == Kind::System, "{error}");
}
