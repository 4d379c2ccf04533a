const BY_ENDING: Readonly<Record<string, string>> = {
  py: 'python',
  pyi: 'python',
  ts: 'typescript',
  tsx: 'typescript',
  mts: 'typescript',
  cts: 'typescript',
  js: 'javascript',
  jsx: 'javascript',
  mjs: 'javascript',
  cjs: 'javascript',
  json: 'json',
  jsonl: 'json',
  rs: 'rust',
  go: 'go',
  sh: 'bash',
  bash: 'bash',
  yml: 'yaml',
  yaml: 'yaml',
  css: 'css',
  html: 'xml',
  xml: 'xml',
  svg: 'xml',
  md: 'markdown',
  sql: 'sql',
  mk: 'makefile',
}

/** The language that a file is highlighted in; null for plain text. */
export function languageOf(path: string): string | null {
  const name = path.split('/').at(-1) ?? path
  if (/^makefile$/i.test(name)) return 'makefile'
  return BY_ENDING[name.split('.').at(-1)?.toLowerCase() ?? ''] ?? null
}
