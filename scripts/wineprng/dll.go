package main

import (
	"debug/pe"
	"encoding/binary"
	"slices"
)

// The file, as the PE specification ("PE Format", learn.microsoft.com) has it: an
// MS-DOS header, the signature, the COFF file header, the optional header (PE32+), a
// section table of one entry, and that section, which holds nothing but the export
// data. There is no code: a forwarder is a string.
const (
	fileAlignment    = 0x200  // of what lies in the file, the specification's default
	sectionAlignment = 0x1000 // of what lies in memory: a page

	sectionOffset = fileAlignment    // in the file: the headers take less than one unit
	sectionRVA    = sectionAlignment // in memory, from where the image is loaded
	imageBase     = 0x180000000      // the usual preference of a 64-bit DLL

	pe32Plus = 0x20b // the optional header's magic number

	// The version of Windows that it asks for, Windows 7: that of Go's own programs.
	windowsMajor, windowsMinor = 6, 1

	// Room for threads that nobody makes: the usual values.
	stackReserve, stackCommit = 1 << 20, 4 << 10
	heapReserve, heapCommit   = 1 << 20, 4 << 10
)

// dosHeader is the MS-DOS header. Of it, only two fields mean anything today.
type dosHeader struct {
	Magic     [2]byte // "MZ"
	_         [58]byte
	PEPointer uint32 // where the signature lies in the file
}

// exportDirectoryTable is the first of the export data. The addresses in it, RVAs,
// count from where the image is loaded.
type exportDirectoryTable struct {
	ExportFlags           uint32
	TimeDateStamp         uint32
	MajorVersion          uint16
	MinorVersion          uint16
	NameRVA               uint32 // of the DLL's own name
	OrdinalBase           uint32
	AddressTableEntries   uint32
	NumberOfNamePointers  uint32
	ExportAddressTableRVA uint32
	NamePointerRVA        uint32
	OrdinalTableRVA       uint32
}

// exportData is a section with one export: the directory, its three tables of one
// entry each, and then the strings that they point to.
type exportData struct {
	Directory exportDirectoryTable
	// ForwarderRVA is the export address table. An address within the export data
	// is none of code, but that of the name of another DLL's function.
	ForwarderRVA uint32
	NameRVA      uint32 // the name pointer table: what the function is called
	Ordinal      uint16 // the ordinal table: its place in the export address table
}

// forwardingDLL gives a DLL for x86-64 with one function, which is that of another DLL:
// "other.function".
func forwardingDLL(name, function, forwarder string) []byte {
	exports := exportSection(name, function, forwarder)
	rawSize := alignUp(len(exports), fileAlignment)

	dos := dosHeader{Magic: [2]byte{'M', 'Z'}, PEPointer: uint32(binary.Size(dosHeader{}))}
	file := pe.FileHeader{
		Machine:              pe.IMAGE_FILE_MACHINE_AMD64,
		NumberOfSections:     1,
		SizeOfOptionalHeader: uint16(binary.Size(pe.OptionalHeader64{})),
		Characteristics: pe.IMAGE_FILE_EXECUTABLE_IMAGE | pe.IMAGE_FILE_LARGE_ADDRESS_AWARE |
			pe.IMAGE_FILE_DLL,
	}
	optional := pe.OptionalHeader64{
		Magic:                       pe32Plus,
		SizeOfInitializedData:       rawSize,
		ImageBase:                   imageBase,
		SectionAlignment:            sectionAlignment,
		FileAlignment:               fileAlignment,
		MajorOperatingSystemVersion: windowsMajor,
		MinorOperatingSystemVersion: windowsMinor,
		MajorSubsystemVersion:       windowsMajor,
		MinorSubsystemVersion:       windowsMinor,
		SizeOfImage:                 sectionRVA + alignUp(len(exports), sectionAlignment),
		SizeOfHeaders:               sectionOffset,
		Subsystem:                   pe.IMAGE_SUBSYSTEM_WINDOWS_CUI,
		DllCharacteristics:          pe.IMAGE_DLLCHARACTERISTICS_NX_COMPAT,
		SizeOfStackReserve:          stackReserve,
		SizeOfStackCommit:           stackCommit,
		SizeOfHeapReserve:           heapReserve,
		SizeOfHeapCommit:            heapCommit,
	}
	optional.NumberOfRvaAndSizes = uint32(len(optional.DataDirectory))
	optional.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT] = pe.DataDirectory{
		VirtualAddress: sectionRVA, Size: uint32(len(exports)),
	}
	section := pe.SectionHeader32{
		Name:             [8]uint8{'.', 'e', 'd', 'a', 't', 'a'},
		VirtualSize:      uint32(len(exports)),
		VirtualAddress:   sectionRVA,
		SizeOfRawData:    rawSize,
		PointerToRawData: sectionOffset,
		Characteristics:  pe.IMAGE_SCN_CNT_INITIALIZED_DATA | pe.IMAGE_SCN_MEM_READ,
	}

	image := make([]byte, sectionOffset+int(rawSize))
	copy(image, slices.Concat(
		encode(dos), []byte("PE\x00\x00"), encode(file), encode(optional), encode(section)))
	copy(image[sectionOffset:], exports)
	return image
}

// exportSection gives the export data.
func exportSection(name, function, forwarder string) []byte {
	nameRVA := sectionRVA + uint32(binary.Size(exportData{}))
	functionRVA := nameRVA + uint32(len(name)+1)
	forwarderRVA := functionRVA + uint32(len(function)+1)
	d := exportData{
		Directory: exportDirectoryTable{
			NameRVA:               nameRVA,
			OrdinalBase:           1,
			AddressTableEntries:   1,
			NumberOfNamePointers:  1,
			ExportAddressTableRVA: sectionRVA + uint32(binary.Size(exportDirectoryTable{})),
		},
		ForwarderRVA: forwarderRVA,
		NameRVA:      functionRVA,
	}
	d.Directory.NamePointerRVA = d.Directory.ExportAddressTableRVA + uint32(binary.Size(d.ForwarderRVA))
	d.Directory.OrdinalTableRVA = d.Directory.NamePointerRVA + uint32(binary.Size(d.NameRVA))

	return append(encode(d), name+"\x00"+function+"\x00"+forwarder+"\x00"...)
}

// encode gives a structure as it stands in the file.
func encode(v any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err) // it is one of the above: they have a fixed size
	}
	return b
}

func alignUp(n, unit int) uint32 {
	return uint32((n + unit - 1) / unit * unit)
}
