import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

/** Debian's Chromium, or the one that the environment names. */
const CHROMIUM = process.env.RETRAI_CHROMIUM ?? '/usr/bin/chromium'

export const hasBrowser = existsSync(CHROMIUM)

/** Says loudly that something is not tested. */
export function tellWithoutBrowser(): void {
  console.warn(
    `\n${'!'.repeat(78)}\nSKIPPED: the console is NOT tested, for there is no browser at ${CHROMIUM}.\n` +
      `Install Debian's chromium, or name one with RETRAI_CHROMIUM.\n${'!'.repeat(78)}\n`,
  )
}

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      // Containers run as root, where Chromium cannot put itself into a sandbox.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      // A name that is not the machine's own: pages from there get no TLS, so browsers trust them less.
      '--host-resolver-rules=MAP retrai.test 127.0.0.1',
    ],
  })
}
