//! The clients of protocols of one question and one answer. Finger, ident, daytime and their like are this with a question and a
//! reading of the answer.

mod error;
mod printable;
mod stream;

pub use error::{InquiryCause, InquiryError};
pub use printable::printable;
pub use stream::Inquiry;
