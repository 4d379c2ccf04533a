import { useEffect } from 'react'

/** A character, or the name of a key, and what it does. */
export type Shortcut = readonly [key: string, act: () => void]

/**
 * Shortcuts of the page, by the character that a key types: on other keyboards `/` needs Shift, and `[` needs AltGr.
 * They do nothing in a field, and while a dialog is open.
 */
export function useShortcuts(shortcuts: readonly Shortcut[]): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      const act = shortcuts.find(([key]) => key === typed(event))?.[1]
      if (act === undefined || isTaken(event)) return
      event.preventDefault()
      act()
    }
    document.addEventListener('keydown', onKeyDown)
    return () => document.removeEventListener('keydown', onKeyDown)
  })
}

/** What the keys mean together; null for the shortcuts of the browser. */
function typed(event: KeyboardEvent): string | null {
  const { key, ctrlKey, metaKey, altKey, shiftKey } = event
  const isSign = /^[^\p{L}\s]$/u.test(key)
  if (isSign && (event.getModifierState('AltGraph') || !(ctrlKey || metaKey))) return key
  if (ctrlKey || metaKey || altKey || shiftKey) return null
  return key.length === 1 ? key.toLowerCase() : key
}

const FIELDS = 'input, textarea, select, [contenteditable="true"]'

function isTaken({ key, target }: KeyboardEvent): boolean {
  if (document.querySelector('[aria-modal="true"]') !== null) return true
  if (!(target instanceof Element)) return false
  // On a button the space bar presses the button.
  return target.matches(FIELDS) || (key === ' ' && target.matches('button, summary'))
}
