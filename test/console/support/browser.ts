import { type Browser, chromium } from 'playwright-core'
import { CHROMIUM } from '../../support/missing.ts'

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
