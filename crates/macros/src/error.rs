//! A mistake in what stands before a function, as the compiler tells it.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Mistake {
    text: String,
    at: Span,
}

impl Mistake {
    pub(crate) fn new(at: Span, text: impl Into<String>) -> Self {
        Self { text: text.into(), at }
    }

    /// `compile_error! { "text" }`, all of it in that place.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let mut text = Literal::string(&self.text);
        text.set_span(self.at);
        let mut braces = Group::new(Delimiter::Brace, TokenTree::from(text).into());
        braces.set_span(self.at);
        let mut bang = Punct::new('!', Spacing::Alone);
        bang.set_span(self.at);
        let name = Ident::new("compile_error", self.at);
        let tokens: [TokenTree; 3] = [name.into(), bang.into(), braces.into()];
        tokens.into_iter().collect()
    }
}
