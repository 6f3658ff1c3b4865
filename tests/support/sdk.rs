//! The official SDKs, installed once into a cache outside the target directory.
//!
//! Beside those of OpenAI and Anthropic there are Google's, Amazon's and Cohere's: their types know what requests to those providers look like.

use std::path::PathBuf;

#[path = "python.rs"]
pub(crate) mod python;

const PACKAGES: [&str; 5] =
    ["openai==2.54.0", "anthropic==2.12.0", "google-genai==3.6.1", "botocore==1.44.8", "cohere==7.3.1"];

/// A Python that has them.
pub(crate) fn python() -> PathBuf {
    python::environment("sdk-2", &PACKAGES).join("bin/python")
}
