package main

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"testing"
)

// TestForwardingDLL reads the DLL as a loader does: the headers by debug/pe, and the
// export data from the addresses in it, by offsets of the specification.
func TestForwardingDLL(t *testing.T) {
	const name, function, forwarder = "a.dll", "Function", "b.Other"
	dll := forwardingDLL(name, function, forwarder)
	f, err := pe.NewFile(bytes.NewReader(dll))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != pe.IMAGE_FILE_MACHINE_AMD64 || f.Characteristics&pe.IMAGE_FILE_DLL == 0 {
		t.Errorf("machine %#x, characteristics %#x: no DLL for x86-64", f.Machine, f.Characteristics)
	}
	o, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || len(f.Sections) != 1 {
		t.Fatalf("optional header %T, %d sections", f.OptionalHeader, len(f.Sections))
	}
	s := f.Sections[0]
	if end := s.VirtualAddress + s.VirtualSize; s.VirtualAddress%o.SectionAlignment != 0 || end > o.SizeOfImage || o.SizeOfImage%o.SectionAlignment != 0 {
		t.Errorf("the section is at %#x..%#x of an image of %#x", s.VirtualAddress, end, o.SizeOfImage)
	}
	if s.Offset%o.FileAlignment != 0 || s.Size%o.FileAlignment != 0 || s.Offset < o.SizeOfHeaders || int(s.Offset+s.Size) != len(dll) {
		t.Errorf("the section is at %#x, %#x bytes of a file of %#x", s.Offset, s.Size, len(dll))
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}

	// at gives what an RVA points to, word the 32 bits there.
	at := func(rva uint32) []byte {
		t.Helper()
		if rva < s.VirtualAddress || rva >= s.VirtualAddress+s.VirtualSize {
			t.Fatalf("%#x is not in the section", rva)
		}
		return data[rva-s.VirtualAddress:]
	}
	word := func(rva uint32) uint32 { t.Helper(); return binary.LittleEndian.Uint32(at(rva)) }
	text := func(rva uint32) string {
		t.Helper()
		s, _, _ := bytes.Cut(at(rva), []byte{0})
		return string(s)
	}

	dir := o.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT]
	table := dir.VirtualAddress
	if got := text(word(table + 12)); got != name {
		t.Errorf("the DLL's name is %q, want %q", got, name)
	}
	if addresses, names := word(table+20), word(table+24); addresses != 1 || names != 1 {
		t.Fatalf("%d addresses and %d names, want one each", addresses, names)
	}
	if got := text(word(word(table + 32))); got != function {
		t.Errorf("it exports %q, want %q", got, function)
	}
	if ordinal := binary.LittleEndian.Uint16(at(word(table + 36))); ordinal != 0 {
		t.Errorf("the function is number %d of one", ordinal)
	}
	target := word(word(table + 28))
	if got := text(target); got != forwarder {
		t.Errorf("it is forwarded to %q, want %q", got, forwarder)
	}
	// Else the loader would take the string for code.
	if target < dir.VirtualAddress || target >= dir.VirtualAddress+dir.Size {
		t.Errorf("the forwarder's address %#x is outside of the export data", target)
	}
}
