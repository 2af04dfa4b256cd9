//! Names of containers, images and registries.

use std::{fmt, str::FromStr};

use rocketos_model::{ImageReference, PlacedImage};
use schemars::JsonSchema;

use super::{network::http, short, text, written};

text!(
    /// A name in settings that becomes part of units and folders: letters, digits and inner hyphens.
    Name,
    63,
    |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match plain && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') {
            true => Ok(()),
            false => Err(format!("{} is no name: letters, digits and inner hyphens", short(text))),
        }
    }
);

text!(
    /// A registry: a host with an optional port, such as `registry.example:5000`.
    RegistryName,
    260,
    |text| match is_registry(text) {
        true => Ok(()),
        false => Err(format!("{} is no registry, such as 'registry.example' or 'localhost:5000'", short(text))),
    }
);

text!(
    /// Where a mirror answers: a URL, http or https, or a registry with an optional path.
    Endpoint,
    2048,
    |text| {
        let url = if text.contains("://") { http(text)? } else { http(&format!("https://{text}"))? };
        match url.query().is_none() && url.fragment().is_none() {
            true => Ok(()),
            false => Err(format!("{} has more than a host and a path", short(text))),
        }
    }
);

/// A host and an optional port, and no more.
fn is_registry(text: &str) -> bool {
    let url = http(&format!("https://{text}"));
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    plain && url.is_ok_and(|url| url.path() == "/" && url.query().is_none())
}

/// An image of a registry: `registry.example/name[:tag][@digest]`, with or without `docker://`.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct ContainerImage(ImageReference);
written!(ContainerImage, 1024);

impl ContainerImage {
    /// The reference.
    pub fn reference(&self) -> &ImageReference {
        &self.0
    }
}

impl FromStr for ContainerImage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ImageReference>() {
            Ok(reference @ ImageReference::Registry { .. }) => Ok(Self(reference)),
            Ok(_) => Err(format!("{} is not in a registry", short(text))),
            Err(error) => Err(format!("{} is no image: {error}", short(text))),
        }
    }
}

impl fmt::Display for ContainerImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())
    }
}

/// An image of a registry, or beside that of the system: `registry.example/name[:tag][@digest]`, or `name[:tag][@digest]` without a slash.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct HostContainerImage(PlacedImage);
written!(HostContainerImage, 1024);

impl HostContainerImage {
    /// Where it is.
    pub fn placed(&self) -> &PlacedImage {
        &self.0
    }
}

impl FromStr for HostContainerImage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<PlacedImage>() {
            Ok(PlacedImage::At(reference)) if reference.transport() != "registry" => {
                Err(format!("{} is not in a registry", short(text)))
            }
            Ok(placed) => Ok(Self(placed)),
            Err(error) => Err(format!("{} is no image: {error}", short(text))),
        }
    }
}

impl fmt::Display for HostContainerImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PlacedImage::At(reference) => f.write_str(&reference.name()),
            beside => beside.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::takes, *};

    #[test]
    fn takes_names_of_containers_images_and_registries() {
        takes::<Name>(&["admin", "a-1", "B"], &["-a", "a-", "a.b", "a/b", "a b", "a@b", &"a".repeat(64)]);
        takes::<RegistryName>(
            &["docker.io", "localhost:5000", "[fd00::1]:5000"],
            &["a/b", "a b", "https://a", "a:b", "a?b"],
        );
        takes::<Endpoint>(
            &["https://mirror.example", "http://10.0.0.1:5000/hub", "mirror.example/hub"],
            &["ftp://a", "https://a?b", "a b", "https://me:hunter2@a"],
        );
    }

    #[test]
    fn an_image_is_in_a_registry() {
        let read = str::parse::<ContainerImage>;
        for text in ["registry.example/admin:v1", "docker://registry.example/admin", "localhost:5000/a"] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in ["admin", "oci:/srv/layout", "containers-storage:a", "registry.example/a b", "registry.example/a\n"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(read("docker://registry.example/admin").unwrap().to_string(), "registry.example/admin");
    }

    #[test]
    fn a_host_containers_image_may_be_beside_the_systems() {
        let read = str::parse::<HostContainerImage>;
        let pinned = format!("control@sha256:{}", "ab".repeat(32));
        for text in ["control", "control:1.0", &pinned, "registry.example/admin:v1"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        assert_eq!(read("docker://registry.example/admin").unwrap().to_string(), "registry.example/admin");
        for text in
            ["", "oci:/srv/layout", "oci:a", "containers-storage:a", "Control", "a/b", "a b", "a\n", "a@sha256:12"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
