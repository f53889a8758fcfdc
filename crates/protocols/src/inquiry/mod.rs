//! The clients of protocols of one question and one answer. Finger, ident, daytime and their like are this with a question and a
//! reading of the answer: an [`Inquiry`] over a connection, a [`DatagramInquiry`] in datagrams.

mod datagram;
mod error;
mod printable;
mod stream;

pub use datagram::DatagramInquiry;
pub use error::{InquiryCause, InquiryError};
pub use printable::printable;
pub use stream::Inquiry;
