import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { inject } from 'vitest'

/** Chromium as Debian installs it. Without what shows windows, it takes two thirds of the processor time. */
const WITHOUT_WINDOWS = '/usr/bin/chromium-headless-shell'
const WHOLE = '/usr/bin/chromium'
/** The browser of the tests: the one in the environment, or that of Debian. */
export const CHROMIUM =
  process.env.RETRAI_CHROMIUM ?? (existsSync(WITHOUT_WINDOWS) ? WITHOUT_WINDOWS : WHOLE)

const answers = (file: string, ...args: string[]) => {
  return () => spawnSync(file, args, { stdio: 'ignore' }).status === 0
}

/** What some tests need besides Node, npm, bash and the usual commands of a Unix. */
const TOOLS = {
  bwrap: { isThere: answers('bwrap', '--version'), install: 'apt-get install bubblewrap' },
  cargo: { isThere: answers('cargo', '--version'), install: 'apt-get install cargo' },
  chromium: {
    isThere: () => existsSync(CHROMIUM),
    install: 'apt-get install chromium-headless-shell',
  },
  docker: {
    isThere: answers('docker', 'compose', 'version'),
    install: 'apt-get install docker.io docker-compose',
  },
  'the image of the Dockerfile': {
    isThere: answers('docker', 'image', 'inspect', 'retrai'),
    install: 'docker build --tag retrai .',
  },
  'the images of docker-compose.yml': {
    isThere: answers(
      ...(['docker', 'image', 'inspect', 'retrai', 'eventstore/eventstore:24.10'] as const),
      'eventstore/es-gencert-cli:1.0.2',
    ),
    install: 'docker compose --profile cluster build && docker compose --profile cluster pull',
  },
  curl: { isThere: answers('curl', '--version'), install: 'apt-get install curl' },
  git: { isThere: answers('git', '--version'), install: 'apt-get install git' },
  go: { isThere: answers('go', 'version'), install: 'apt-get install golang-go' },
  ip: { isThere: answers('ip', '-V'), install: 'apt-get install iproute2' },
  landlock: {
    isThere: answers('sh', '-c', 'setpriv --help | grep -q landlock-rule'),
    install: 'apt-get install util-linux (2.41 or newer), on Linux 5.13 or newer',
  },
  make: { isThere: answers('make', '--version'), install: 'apt-get install make' },
  openssl: { isThere: answers('openssl', 'version'), install: 'apt-get install openssl' },
  pasta: { isThere: answers('pasta', '--version'), install: 'apt-get install passt' },
  pytest: {
    isThere: answers('python3', '-m', 'pytest', '--version'),
    install: 'apt-get install python3-pytest',
  },
  python3: { isThere: answers('python3', '--version'), install: 'apt-get install python3' },
  rg: { isThere: answers('rg', '--version'), install: 'apt-get install ripgrep' },
} as const
export type Tool = keyof typeof TOOLS

declare module 'vitest' {
  interface ProvidedContext {
    readonly missing: readonly string[]
  }
}

/** The tools that this machine lacks. Prints a line for each, so nobody overlooks the skipped tests. */
export function findMissing(): Tool[] {
  const names = Object.keys(TOOLS) as Tool[]
  const missing = names.filter((name) => !TOOLS[name].isThere())
  for (const name of missing) warnOfMissing(name, TOOLS[name].install)
  return missing
}

/** @param install the command that installs it */
export function warnOfMissing(name: string, install: string): void {
  console.warn(`*** SKIPPED: tests that need ${name}, which is missing. To run them: ${install}`)
}

/** For `test.skipIf` and `describe.skipIf`. The global setup looks for the tools once. */
export const isMissing = (tool: Tool): boolean => inject('missing').includes(tool)
