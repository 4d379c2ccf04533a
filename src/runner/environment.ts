/**
 * The only variables of the server's own environment that commands see. A list of what is allowed,
 * because a list of secrets is never complete: keys, tokens and proxies with passwords stay behind.
 */
const ALLOWED: ReadonlySet<string> = new Set([
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'SHELL', 'TERM', 'TZ', 'TMPDIR', 'TMP', 'TEMP'],
  ...['LANG', 'LANGUAGE', 'COLUMNS', 'LINES', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME'],
  ...['XDG_DATA_HOME', 'XDG_RUNTIME_DIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'],
  ...['VIRTUAL_ENV', 'CONDA_PREFIX', 'PYENV_ROOT', 'PYENV_VERSION', 'NVM_DIR', 'VOLTA_HOME'],
  ...['BUN_INSTALL', 'CARGO_HOME', 'RUSTUP_HOME', 'GOPATH', 'GOROOT', 'GOCACHE', 'GOMODCACHE'],
  ...['GOTOOLCHAIN', 'JAVA_HOME'],
])
const ALLOWED_PREFIX = 'LC_'

/** Nothing may wait for a person or a terminal, and looking at a project must not litter it. */
const FIXED: Readonly<Record<string, string>> = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_EDITOR: 'true',
  GIT_PAGER: 'cat',
  PAGER: 'cat',
  PYTHONDONTWRITEBYTECODE: '1',
}

/** The environment of a command: what is allowed of `own`, what is always set, then `added`. */
export function commandEnvironment(
  own: Readonly<Record<string, string | undefined>>,
  added: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const environment: Record<string, string> = {}
  for (const [name, value] of Object.entries(own)) {
    const allowed = ALLOWED.has(name) || name.startsWith(ALLOWED_PREFIX)
    if (allowed && value !== undefined) environment[name] = value
  }
  return { ...environment, ...FIXED, ...added }
}
