/** What programs need of the system. Nothing else of the host is shown to an isolated command. */
export const SYSTEM: readonly string[] = [
  ...['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/etc', '/opt'],
  ...['/nix/store', '/gnu/store'],
]

/** What only root reads: a command of a root server owns it. */
export const SECRET_FILES: readonly string[] = [
  ...['shadow', 'shadow-', 'gshadow', 'gshadow-', 'sudoers', 'krb5.keytab', 'machine-id'],
  'security/opasswd',
].map((name) => `/etc/${name}`)

export const SECRET_FOLDERS: readonly string[] = [
  ...['ssh', 'ssl/private', 'sudoers.d', 'wireguard', 'NetworkManager', 'docker', 'kubernetes'],
  ...['rancher', 'letsencrypt'],
].map((name) => `/etc/${name}`)

export const DEVICES: readonly string[] = [
  ...['null', 'zero', 'full', 'random', 'urandom', 'tty'],
].map((name) => `/dev/${name}`)
