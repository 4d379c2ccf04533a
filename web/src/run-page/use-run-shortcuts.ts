import { notifications } from '@mantine/notifications'
import { hashOf } from '../replay/playhead.ts'
import type { Playback } from '../replay/use-playback.ts'
import { iterationBeside } from '../run/moments.ts'
import type { RunView } from '../run/run-view.ts'
import { copyText } from '../ui/copy-button.tsx'
import { useShortcuts } from '../ui/use-shortcuts.ts'

type Options = {
  readonly view: RunView
  readonly moment: number
  readonly playback: Playback
}

/** The element that the shortcut d goes to. */
export const DECISION_ID = 'decision'

export function useRunShortcuts({ view, moment, playback }: Options): void {
  const { go, toggle } = playback
  useShortcuts([
    ['j', () => go(moment + 1)],
    ['k', () => go(moment - 1)],
    [']', () => go(iterationBeside(view, moment, 1))],
    ['[', () => go(iterationBeside(view, moment, -1) ?? 0)],
    ['Home', () => go(0)],
    ['End', () => go(null)],
    ['c', () => void copyLink(moment)],
    ['d', () => document.getElementById(DECISION_ID)?.focus()],
    [' ', toggle],
  ])
}

async function copyLink(moment: number): Promise<void> {
  const link = location.origin + location.pathname + hashOf(Math.max(0, moment))
  if (await copyText(link)) {
    notifications.show({ message: `Link to record ${moment} copied`, autoClose: 2000 })
  }
}
