// Package chain decides what CloudTrail's digest chains prove. It is pure: it
// reads files and public keys only through the interfaces it is given, and it
// knows neither AWS nor the network nor a clock.
//
// # What a chain is
//
// A trail with log file validation writes one digest file an hour for each
// account and region. Each digest lists the hour's log files with their hashes,
// and names its predecessor with its hash and signature. So a proven digest
// proves the one before it, and everything that both list.
//
//   - [Judge] decides what one digest file is worth.
//   - [Walk] judges a chain from its newest digest to its oldest, by the signed names.
//   - [Starting], [Follows] and [Due] tell what came before a digest that is gone.
//   - [SwitchOff] tells which trail an event switches off.
//
// A program reads files and lists folders itself. examples/verify-folder is a small
// one.
//
// # Three verdicts
//
// A [Verdict] is [Valid], [Invalid] with a finding's class and evidence, or
// [Unverified] with a reason. A failure to read is never Invalid. Trusted says
// whether the content is CloudTrail's: only then may its names be followed and
// its log files be believed. A digest can be trusted although something about
// its file is wrong, such as lost metadata.
//
// # The signed hash outranks everything
//
// A digest is trusted if its bytes have the hash that its trusted successor
// signed. Its own signature does not matter then. A digest with another hash is a
// chain-mismatch. Its other defects are in the detail.
//
// # Names
//
// Names in listings do not prove anything. The caller says where a walk begins.
// From there the walk follows signed names only.
package chain
