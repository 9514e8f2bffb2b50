/** The policy.toml that a new server begins with. */

/** Every administrator who was invited may do everything, and what else could be said stands beside it as comments. */
export const FIRST_POLICY =
  `# Which administrator may do what on which hosts. A running server reads this file again when it has changed: sessions
# that are no longer allowed end within a second. While there is a mistake in it, no session can be opened, and those that
# run go on.
#
# What no rule allows is not allowed. Each host has its own agent.toml besides, which has the last word.

[[rule]]
admins = ["*"] # names, or "*" alone for everybody who was invited
hosts = ["*"] # names, tags such as "tag:prod", or "*" alone
actions = ["shell", "exec", "forward"]
targets = ["*:*"] # of forwards: HOST:PORT as the host resolves it

# [[rule]]
# admins = ["alice", "bob"]
# hosts = ["tag:prod", "web1"]
# actions = ["exec", "forward"]
# targets = ["localhost:5432", "*.internal:443", "10.0.0.0/8:8000-8999", "[2001:db8::/32]:*"]
# until = 2027-01-31T18:00:00Z # with a zone and without quotes; absent: no end
`;
