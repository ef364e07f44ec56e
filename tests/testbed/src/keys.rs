//! Makes what a cluster's parts and users prove themselves with: one authority, certificates of it, the token key.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::directory::write;
use crate::error::{Doing, Error, Result};

/// The object identifier of an organization (X.520), the attribute that Kubernetes reads as a group.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// A certificate authority whose files lie in one folder: `ca.crt`, `ca.key`, and a pair for each name.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn create(folder: PathBuf) -> Result<Self> {
        fs::create_dir(&folder).doing("making", &folder)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];

        let key = KeyPair::generate()?;
        write(&folder.join("ca.crt"), &params.self_signed(&key)?.pem())?;
        write(&folder.join("ca.key"), &key.serialize_pem())?;
        let issuer = Issuer::new(params, key);
        Ok(Self { folder, issuer })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A certificate for a user and for the names it serves under, as `<name>.crt` and `<name>.key`.
    pub(crate) fn certify(
        &self,
        name: &str,
        user: &str,
        groups: &[&str],
        serves: &[&str],
    ) -> Result<()> {
        let mut params =
            CertificateParams::new(serves.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        // rcgen keeps one value per kind of attribute, and has two names for this kind.
        let kinds = [DnType::OrganizationName, DnType::CustomDnType(ORGANIZATION.to_vec())];
        if groups.len() > kinds.len() {
            return Err(Error::Groups { user: user.to_owned(), count: groups.len() });
        }
        for (kind, group) in kinds.into_iter().zip(groups) {
            params.distinguished_name.push(kind, *group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];

        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&self.folder.join(format!("{name}.crt")), &certificate.pem())?;
        write(&self.folder.join(format!("{name}.key")), &key.serialize_pem())
    }

    /// The key pair that service account tokens are signed and checked with.
    pub(crate) fn token_keys(&self) -> Result<()> {
        let key = KeyPair::generate()?;
        write(&self.folder.join("tokens.pub"), &key.public_key_pem())?;
        write(&self.folder.join("tokens.key"), &key.serialize_pem())
    }

    /// A kubeconfig for a certificate that was made: `<name>.kubeconfig`.
    pub(crate) fn kubeconfig(&self, name: &str, server: &str) -> Result<PathBuf> {
        let file = |name: String| self.folder.join(name);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": {
                "server": server, "certificate-authority": file("ca.crt".into()),
            }}],
            "users": [{"name": name, "user": {
                "client-certificate": file(format!("{name}.crt")),
                "client-key": file(format!("{name}.key")),
            }}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
            "current-context": "testbed",
        });
        let path = file(format!("{name}.kubeconfig"));
        write(&path, &format!("{config:#}\n"))?;
        Ok(path)
    }
}
