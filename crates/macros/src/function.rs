//! The function under the attribute. Its arguments and result are left to the compiler: what must be known is its name, and whether it is `async`.

use proc_macro::{Delimiter, Group, Ident, LexError, Literal, Span, TokenStream, TokenTree};

use crate::error::Mistake;
use crate::settings::Settings;

/// A function, taken apart.
#[derive(Debug)]
pub(crate) struct Function {
    /// `#[...]`, one after the other; documentation as well.
    attributes: TokenStream,
    /// Everything after that but the visibility, which means nothing inside another function.
    item: TokenStream,
    name: Ident,
    is_async: bool,
}

pub(crate) fn parse(item: TokenStream) -> Result<Function, Mistake> {
    let mut attributes = Vec::new();
    let mut rest = Vec::new();
    let mut is_async = false;
    let mut tokens = item.into_iter().peekable();
    let no_function = |at: Span| {
        Mistake::new(at, "`#[marline::test]` stands before a function: `async fn` or `fn`")
    };
    let name = loop {
        let Some(token) = tokens.next() else { return Err(no_function(Span::call_site())) };
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' && rest.is_empty() => {
                attributes.push(token);
                attributes.extend(tokens.next());
            }
            TokenTree::Ident(word) => match word.to_string().as_str() {
                "pub" => {
                    let scope = |token: &TokenTree| matches!(token, TokenTree::Group(_));
                    tokens.next_if(scope);
                }
                "async" => {
                    is_async = true;
                    rest.push(token);
                }
                "fn" => {
                    let Some(TokenTree::Ident(name)) = tokens.next() else {
                        return Err(no_function(word.span()));
                    };
                    rest.push(token);
                    break name;
                }
                _ => return Err(no_function(word.span())),
            },
            other => return Err(no_function(other.span())),
        }
    };
    let parameters = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis);
    if !tokens.peek().is_some_and(parameters) {
        return Err(Mistake::new(name.span(), "a test has no parameters of types or lifetimes"));
    }
    rest.push(name.clone().into());
    rest.extend(tokens);
    let (attributes, item) = (attributes.into_iter().collect(), rest.into_iter().collect());
    Ok(Function { attributes, item, name, is_async })
}

impl Function {
    /// A test without arguments, with the function inside and a `Case` that runs it.
    pub(crate) fn into_test(self, settings: &Settings) -> TokenStream {
        let Self { attributes, item, name, is_async } = self;
        let (path, calls) = (&settings.path, &settings.calls);
        let title = Literal::string(&format!("::{name}"));
        let driver = settings.driver.as_ref().map_or_else(String::new, |driver| {
            let driver = Literal::string(driver);
            format!(".driver({driver}, {path}::__private::open)")
        });
        let run = if is_async { "run_async" } else { "run" };
        let body: TokenStream = format!(
            "{path}::testing::Case::new(::core::concat!(::core::module_path!(), {title}))\
             {calls}{driver}.{run}"
        )
        .parse()
        .unwrap_or_else(|error: LexError| {
            Mistake::new(Span::call_site(), error.to_string()).into_tokens()
        });
        // The function as an argument, with the place of its name: an error of its types is told there.
        let name_at = name.span();
        let argument = parenthesised(TokenTree::from(name.clone()).into(), name_at);
        let inside: TokenStream = [item, body, argument.into()].into_iter().collect();
        let mut block = Group::new(Delimiter::Brace, inside);
        block.set_span(name_at);
        let test: TokenStream = "#[::core::prelude::v1::test] fn".parse().unwrap_or_default();
        let head: TokenStream =
            [TokenTree::from(name), parenthesised(TokenStream::new(), name_at), block.into()]
                .into_iter()
                .collect();
        [attributes, test, head].into_iter().collect()
    }
}

fn parenthesised(tokens: TokenStream, at: Span) -> TokenTree {
    let mut group = Group::new(Delimiter::Parenthesis, tokens);
    group.set_span(at);
    group.into()
}
