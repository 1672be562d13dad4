"""The ground floor: errors, audio, stems, files, downloads, the machine, numbers as text."""
