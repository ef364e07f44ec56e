//! How messages are encoded: as everywhere, but for the memory that each stream has set aside for its next message. Most
//! have nothing to say for hours, and there are seven for each server.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes that a stream has set aside; more are taken when they are needed.
const ASIDE: usize = 64;

/// After so many bytes what was encoded is sent.
const AT_ONCE: usize = 32 * 1024;

/// Encodes `T` and decodes `U`.
pub(super) struct Lean<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Lean<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Lean<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(ASIDE, AT_ONCE))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(ASIDE, AT_ONCE))
    }
}
