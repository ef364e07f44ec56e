//! Makes roots and issuers of certificates, and reads how long one is valid: Ed25519, as Sentry makes its own.

use catalyst_plan::SecretBytes;
use catalyst_plan::names::DAPR_NAMESPACE;
use catalyst_plan::trust::{Authority, Validity};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, Error, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd, string::Ia5String,
};
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

/// How many days a root is valid: its rotation rolls every Dapr server.
const ROOT_DAYS: i64 = 3650;

/// How many days an issuer is valid: its renewal restarts nothing.
const ISSUER_DAYS: i64 = 365;

/// A new root, and an issuer that it signed.
///
/// # Errors
/// [`Error`] where a certificate can't be made.
pub(crate) fn made(domain: &str, now: Timestamp) -> Result<Authority, Error> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let root = root(domain, now)?.self_signed(&key)?.pem();
    let (issuer, issuer_key) = issuer(domain, &key, now)?;
    Ok(Authority { root, root_key: pem(&key), issuer, issuer_key })
}

/// The same root with a new issuer.
///
/// # Errors
/// [`Error`] where a certificate can't be made.
pub(crate) fn renewed(
    domain: &str,
    authority: Authority,
    now: Timestamp,
) -> Result<Authority, Error> {
    let text = String::from_utf8_lossy(&authority.root_key.0);
    let (issuer, issuer_key) = issuer(domain, &KeyPair::from_pem(&text)?, now)?;
    Ok(Authority { issuer, issuer_key, ..authority })
}

/// How long the issuer is valid: no longer than its root.
///
/// # Errors
/// What is wrong with the authority, for people.
pub(crate) fn validity(authority: &Authority) -> Result<Validity, String> {
    let key = |name: &str, key: &SecretBytes| {
        KeyPair::from_pem(&String::from_utf8_lossy(&key.0))
            .map_err(|_| format!("{name} is no key as PEM"))
    };
    key("ca.key", &authority.root_key)?;
    key("issuer.key", &authority.issuer_key)?;
    let (root, issuer) =
        (valid("ca.crt", &authority.root)?, valid("issuer.crt", &authority.issuer)?);
    Ok(Validity { from: issuer.from, until: issuer.until.min(root.until) })
}

fn valid(name: &str, text: &str) -> Result<Validity, String> {
    let fault = || format!("{name} is no certificate as PEM");
    let (_, block) = parse_x509_pem(text.as_bytes()).map_err(|_| fault())?;
    let certificate = block.parse_x509().map_err(|_| fault())?;
    let at = |time: i64| Timestamp::from_second(time).map_err(|_| fault());
    let validity = certificate.validity();
    Ok(Validity {
        from: at(validity.not_before.timestamp())?,
        until: at(validity.not_after.timestamp())?,
    })
}

fn root(domain: &str, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut parameters = lasting(now, ROOT_DAYS)?;
    parameters.distinguished_name = organisation(domain);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(parameters)
}

/// What Sentry signs with. Its names are those of Sentry's own making.
/// <https://github.com/dapr/dapr/blob/v1.18.3/pkg/sentry/server/ca/bundle>
fn issuer(
    domain: &str,
    root_key: &KeyPair,
    now: Timestamp,
) -> Result<(String, SecretBytes), Error> {
    let id = format!("spiffe://{domain}/ns/{DAPR_NAMESPACE}/dapr-sentry");
    let mut parameters = lasting(now, ISSUER_DAYS)?;
    parameters.distinguished_name = organisation(&id);
    parameters.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id)?)];
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let by = Issuer::new(root(domain, now)?, root_key);
    let certificate = parameters.signed_by(&key, &by)?;
    Ok((certificate.pem(), pem(&key)))
}

fn organisation(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::OrganizationName, name);
    names
}

/// Valid from the day before, as clocks differ.
fn lasting(now: Timestamp, days: i64) -> Result<CertificateParams, Error> {
    let day = |days: i64| {
        let at = now.checked_add(SignedDuration::from_hours(24 * days));
        let at = at.map_err(|_| Error::Time)?.to_zoned(TimeZone::UTC);
        let (month, day) = (at.month().unsigned_abs(), at.day().unsigned_abs());
        Ok::<_, Error>(date_time_ymd(at.year().into(), month, day))
    };
    let mut parameters = CertificateParams::default();
    (parameters.not_before, parameters.not_after) = (day(-1)?, day(days)?);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

fn pem(key: &KeyPair) -> SecretBytes {
    SecretBytes(Zeroizing::new(key.serialize_pem().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn a_renewed_issuer_comes_from_the_same_root() {
        let first = made("eu.example.com", now()).unwrap();
        let second = renewed("eu.example.com", first.clone(), now()).unwrap();
        assert_eq!((&first.root, &first.root_key), (&second.root, &second.root_key));
        assert_ne!(first.issuer, second.issuer);
        assert_ne!(first.issuer_key, second.issuer_key);
    }

    #[test]
    fn an_issuer_is_valid_for_a_year_from_the_day_before() {
        let validity = validity(&made("eu.example.com", now()).unwrap()).unwrap();
        assert_eq!(validity.from.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(validity.until.to_string(), "2027-01-02T00:00:00Z");
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let authority = made("eu.example.com", now()).unwrap();
        let broken = Authority { issuer: "none".into(), ..authority.clone() };
        assert_eq!(validity(&broken), Err("issuer.crt is no certificate as PEM".into()));
        let broken = Authority { root_key: SecretBytes(b"none".to_vec().into()), ..authority };
        assert_eq!(validity(&broken), Err("ca.key is no key as PEM".into()));
    }
}
