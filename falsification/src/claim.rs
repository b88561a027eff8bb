//! The register of claims.
