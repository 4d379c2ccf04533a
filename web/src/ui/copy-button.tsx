import { notifications } from '@mantine/notifications'
import { type ReactNode, useEffect, useState } from 'react'

const COPIED_MS = 1500
/** Then, what is below a text can be reached again. */
const BY_HAND_MS = 60_000

type Props = {
  readonly value: string | (() => string)
  readonly children: (copying: { readonly copied: boolean; readonly copy: () => void }) => ReactNode
}

/** A button that copies a text, and knows for a moment that it has. */
export function CopyButton({ value, children }: Props) {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), COPIED_MS)
    return () => clearTimeout(timer)
  }, [copied])
  return children({
    copied,
    copy: () => void copyText(typeof value === 'string' ? value : value()).then(setCopied),
  })
}

/** Copies a text, or shows it, if the browser does not let the page copy. @returns whether it was copied */
export async function copyText(text: string): Promise<boolean> {
  const copied = await navigator.clipboard?.writeText(text).then(
    () => true,
    () => false,
  )
  if (copied || copySelected(text)) return true
  notifications.show({ title: 'To copy by hand', message: text, autoClose: BY_HAND_MS })
  return false
}

/** The older way, which browsers allow without TLS. */
function copySelected(text: string): boolean {
  const focused = document.activeElement
  const area = document.createElement('textarea')
  area.value = text
  area.style.position = 'fixed'
  document.body.append(area)
  area.select()
  const copied = document.execCommand('copy')
  area.remove()
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true })
  return copied
}
