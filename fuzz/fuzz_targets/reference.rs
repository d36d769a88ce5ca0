//! References to images and repositories, as they stand in a resource or on a command line.
#![no_main]

use oci::{ImageRef, RepositoryRef};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(image) = text.parse::<ImageRef>() {
        assert_eq!(
            image.to_string().parse::<ImageRef>().as_ref(),
            Ok(&image),
            "what is printed is read as the same"
        );
    }
    if let Ok(repository) = text.parse::<RepositoryRef>() {
        assert_eq!(
            repository.to_string().parse::<RepositoryRef>().as_ref(),
            Ok(&repository),
            "what is printed is read as the same"
        );
    }
});
