mod corpus;
mod envelope;
mod fixtures;
mod properties;
mod sample;
mod signature;
mod support;
